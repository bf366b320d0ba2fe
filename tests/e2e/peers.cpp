// SPDX-License-Identifier: Apache-2.0
#include "peers.hpp"

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <stdexcept>

#include "metrics.hpp"

namespace culvert::test {
namespace {

const std::string peers_folder = CULVERT_SOURCE_DIR "/tests/peers/";
const SocketAddress admin{*IpAddress::parse("127.0.0.1"), 9901};

std::string fresh_name(const Lab& lab, const std::string& kind) {
    static std::atomic<int> count{0};
    return lab.folder() / (kind + std::to_string(++count));
}

std::string filled(std::string text, const Envoy::Words& words) {
    for (const auto& [word, value] : words)
        for (auto at = text.find("@" + word + "@"); at != std::string::npos; at = text.find("@" + word + "@", at))
            text.replace(at, word.size() + 2, value);
    return text;
}

std::string binary() {
    const char* said = std::getenv("CULVERT_ENVOY");
    return said != nullptr ? said : CULVERT_ENVOY_BINARY;
}

}

std::string slurp(const std::string& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

Papers issue(const Lab& lab, const std::string& service_account) {
    const std::string ca = lab.folder() / "ca";
    const std::string path = fresh_name(lab, "peer");
    Papers papers{path + ".pem", path + ".key", ca + "/root-cert.pem"};
    std::ofstream{path + ".cnf"} << "[req]\ndistinguished_name = name\nx509_extensions = leaf\nprompt = no\n"
                                 << "[name]\nO = a foreign peer\n"
                                 << "[leaf]\nbasicConstraints = critical, CA:FALSE\n"
                                 << "keyUsage = critical, digitalSignature, keyEncipherment\n"
                                 << "extendedKeyUsage = serverAuth, clientAuth\n"
                                 << "subjectAltName = URI:spiffe://cluster.local/ns/ns/sa/" << service_account << "\n";
    must({"openssl",
          "req",
          "-x509",
          "-config",
          path + ".cnf",
          "-CA",
          papers.root,
          "-CAkey",
          ca + "/root-key.pem",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:prime256v1",
          "-nodes",
          "-days",
          "1",
          "-out",
          papers.chain,
          "-keyout",
          papers.key});
    return papers;
}

Envoy::Envoy(const Lab& lab, const Pod& pod, const std::string& config, Words words)
    : pod_{pod}, home_{fresh_name(lab, "envoy")}, config_{home_ + ".yaml"} {
    words["ACCESS"] = home_ + ".access";
    std::ofstream{config_} << filled(slurp(peers_folder + config), words);
    start();
}

void Envoy::start() {
    process_ = Process({binary(), "-c", config_, "--concurrency", "1", "--disable-hot-restart", "--log-level",
                        "warning", "--file-flush-interval-msec", "20"},
                       pod_.netns(), home_ + ".log");
    const auto serves = [this] { return http_get(pod_.netns(), admin, "/ready").status == 200; };
    if (!eventually(20s, [&] { return !process_.running() || serves(); }) || !process_.running())
        throw std::runtime_error("Envoy does not serve: " + config_ + "\n" + log());
}

void Envoy::kill9() {
    process_.signal(SIGKILL);
    process_.wait(5s);
}

double Envoy::stat(const std::string& name) const {
    const std::string page = http_get(pod_.netns(), admin, "/stats").body;
    const auto at = page.find("\n" + name + ": ");
    return at == std::string::npos ? -1 : std::strtod(page.c_str() + at + name.size() + 3, nullptr);
}

void Envoy::order(const std::string& path) const {
    must({"curl", "--silent", "--show-error", "--fail", "-X", "POST", "http://" + admin.to_string() + path},
         pod_.netns());
}

std::string Envoy::access_log() const {
    return slurp(home_ + ".access");
}

std::string Envoy::log() const {
    return slurp(home_ + ".log");
}

bool is_a_killed_peer(const std::string& error) {
    return error.find("the peer closed the tunnel without close_notify") != std::string::npos ||
           error.find("Connection reset by peer") != std::string::npos;
}

Envoy envoy_server(const Lab& lab, const Pod& pod, const std::string& service_account, const std::string& options) {
    const Papers papers = issue(lab, service_account);
    return Envoy{lab,
                 pod,
                 "envoy_server.yaml",
                 {{"CHAIN", papers.chain}, {"KEY", papers.key}, {"ROOT", papers.root}, {"OPTIONS", options}}};
}

PythonPeer::PythonPeer(const Lab& lab, const Pod& pod, std::vector<std::string> command)
    : path_{fresh_name(lab, "python") + ".log"} {
    command.front() = peers_folder + command.front();
    // Debian's, which has h2.
    command.insert(command.begin(), {"/usr/bin/python3", "-B"});
    process_ = Process(command, pod.netns(), path_);
}

bool PythonPeer::says(const std::string& words, Milliseconds limit) const {
    return eventually(limit, [&] { return log().find(words) != std::string::npos; });
}

std::string PythonPeer::finish() {
    process_.signal(SIGTERM);
    process_.wait(5s);
    return log();
}

std::string PythonPeer::log() const {
    return slurp(path_);
}

double figure(const std::string& log, const std::string& key) {
    std::smatch found;
    return std::regex_search(log, found, std::regex{"\"" + key + "\": ([-0-9.]+)"}) ? std::stod(found[1]) : -1;
}

}
