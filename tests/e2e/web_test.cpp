// SPDX-License-Identifier: Apache-2.0
// Web servers and clients that people run: nginx, httpbin on gunicorn, curl.
#include <doctest/doctest.h>

#include <fstream>

#include "outcome.hpp"
#include "pattern.hpp"
#include "process.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

// nginx in a pod, with one file of `bytes` bytes.
Process start_nginx(World& world, const Pod& pod, const std::string& content) {
    const std::string home = world.lab.folder() / "nginx";
    std::filesystem::create_directories(home + "/html");
    std::ofstream{home + "/html/file"} << content;
    std::ofstream{home + "/nginx.conf"} << "daemon off; master_process off; pid " << home << "/pid;\n"
                                        << "error_log " << home << "/error.log; events {}\n"
                                        << "http { access_log off; client_max_body_size 100m;\n"
                                        << "client_body_temp_path " << home << "/body; proxy_temp_path " << home
                                        << "/proxy;\n"
                                        << "fastcgi_temp_path " << home << "/f; uwsgi_temp_path " << home
                                        << "/u; scgi_temp_path " << home << "/s;\n"
                                        << "server { listen 8080; listen [::]:8080 ipv6only=on; root " << home
                                        << "/html; } }\n";
    return Process{{"nginx", "-p", home, "-c", home + "/nginx.conf"}, pod.netns(), home + "/output"};
}

bool answers(const Pod& pod, Family family) {
    return eventually(10s, [&] { return http_get(pod.netns(), pod.at(family, 8080), "/").status != 0; });
}

Output curl(const Pod& from, const SocketAddress& to, const std::string& path, std::vector<std::string> more = {}) {
    std::vector<std::string> command{"curl", "--silent", "--show-error", "--max-time", "20", "--globoff"};
    command.insert(command.end(), more.begin(), more.end());
    command.push_back("http://" + to.to_string() + path);
    return run(command, from.netns());
}

}

TEST_SUITE("web") {

TEST_CASE("web: curl fetches from nginx by VIP and by pod IP, new connections and kept ones" BOTH_FAMILIES) {
    World& world = World::shared();
    const std::string content{Pattern{3}.at(0, 900'000)};
    Process nginx = start_nginx(world, world.far, content);
    REQUIRE(answers(world.far, Family::v4));
    for (Family family : families()) {
        for (const SocketAddress& target : {world.vip("far", family), world.far.at(family, 8080)}) {
            CAPTURE(target.to_string());
            const Output once = curl(world.client, target, "/file");
            CHECK(once.status == 0);
            CHECK((once.text == content));
            // The same connection twenty times.
            std::vector<std::string> more{"--write-out", "%{num_connects}", "--output", "/dev/null"};
            for (int i = 1; i < 20; ++i)
                more.insert(more.end(), {"http://" + target.to_string() + "/file", "--output", "/dev/null"});
            const Output kept = curl(world.client, target, "/file", more);
            CHECK(kept.status == 0);
            CHECK(kept.text == "1" + std::string(19, '0'));
        }
    }
}

TEST_CASE("web: httpbin on gunicorn sees the caller's own address" BOTH_FAMILIES) {
    World& world = World::shared();
    Process httpbin{
        {"gunicorn", "--bind", "[::]:8080", "httpbin:app"}, world.near.netns(), world.lab.folder() / "httpbin.log"};
    REQUIRE(answers(world.near, Family::v4));
    for (Family family : families()) {
        for (const SocketAddress& target : {world.vip("near", family), world.near.at(family, 8080)}) {
            CAPTURE(target.to_string());
            const Output answer = curl(world.client, target, "/ip");
            CHECK(answer.status == 0);
            CAPTURE(answer.text);
            CHECK(answer.text.find(world.client.ip(family).to_string()) != std::string::npos);
            CHECK(curl(world.client, target, "/status/418", {"--fail"}).status != 0);
            CHECK(
                curl(world.client, target, "/bytes/50000", {"--output", "/dev/null", "--write-out", "%{size_download}"})
                    .text == "50000");
        }
    }
}

}
