// SPDX-License-Identifier: Apache-2.0
// Our client, and the agent that other tests and the demo have.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

#include "told.hpp"

using namespace culvert;
using namespace culvert::zds;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

// istio_cni.py as a child; it obeys lines and prints lines.
class Agent {
public:
    explicit Agent(const std::string& socket) {
        int in[2], out[2];
        REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
        REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
        child_ = ::fork();
        if (child_ == 0) {
            ::dup2(in[0], STDIN_FILENO);
            ::dup2(out[1], STDOUT_FILENO);
            ::execl("/usr/bin/python3", "python3", "-B", ISTIO_CNI, socket.c_str(), "-", "--probe", "0.05", nullptr);
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        orders_ = base::Fd{in[1]};
        said_ = base::Fd{out[0]};
        ::fcntl(said_.get(), F_SETFL, O_NONBLOCK);
    }
    ~Agent() {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
    }

    void order(const std::string& line) {
        std::string whole = line + "\n";
        REQUIRE(::write(orders_.get(), whole.data(), whole.size()) == static_cast<ssize_t>(whole.size()));
    }
    const std::string& output() {
        char some[4096];
        for (ssize_t got; (got = ::read(said_.get(), some, sizeof some)) > 0;)
            text_.append(some, static_cast<std::size_t>(got));
        return text_;
    }
    bool has_said(const std::string& line) { return ("\n" + output()).find("\n" + line + "\n") != std::string::npos; }

private:
    pid_t child_ = -1;
    base::Fd orders_, said_;
    std::string text_;
};

struct Bench {
    std::string socket = fs::temp_directory_path() / ("culvert-zds-agent-" + std::to_string(::getpid()));
    boost::asio::io_context io;
    Told told;
    Agent agent{socket};
    std::unique_ptr<Client> client;

    ~Bench() { fs::remove(socket); }
    void connect() { client = std::make_unique<Client>(io, socket, told, Pace{2ms, 2ms, 50ms, 1000ms, 30ms}); }
    // Lets the client work until the agent has said this.
    bool says(const std::string& line) {
        for (auto end = Clock::now() + 10s; Clock::now() < end;) {
            if (agent.has_said(line)) return true;
            io.restart();
            io.run_one_for(5ms);
        }
        MESSAGE(agent.output());
        return false;
    }
};

}

TEST_SUITE("zds") {

TEST_CASE("agent: names its pods to who connects, then tells what changes, and hears nothing unasked") {
    Bench bench;
    bench.agent.order("add a web shop seller /proc/self/ns/net");
    bench.agent.order("keep b");
    CHECK(bench.says("add a: no connection"));
    bench.connect();
    CHECK(bench.says("snapshot: ok"));
    CHECK(bench.told.take() == Words{"added a shop/web as seller", "all a b"});
    bench.told.refuses["c"] = "not now";  // which is asked again and again
    bench.agent.order("add c web shop seller /proc/self/ns/net");
    CHECK(bench.says("add c: error failure to start proxy : not now"));
    bench.agent.order("del a");
    CHECK(bench.says("del a: ok"));
    CHECK(std::ranges::count(bench.told.take(), "removed a") == 1);
    // Looked at several times meanwhile.
    bench.io.restart();
    bench.io.run_for(300ms);
    CHECK(bench.client->connected());
    bench.agent.order("raw 1a00");
    CHECK(bench.says("raw: error failure to process message : pod snapshot received already"));
    CHECK(bench.agent.output().find("WRONG") == std::string::npos);
}

}
