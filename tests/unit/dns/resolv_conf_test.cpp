// SPDX-License-Identifier: Apache-2.0
#include <dns/resolv_conf.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace culvert;
using namespace culvert::dns;
using namespace std::chrono_literals;

namespace {

std::string words(const std::vector<base::SocketAddress>& servers) {
    std::string text;
    for (const auto& one : servers) text += (text.empty() ? "" : " ") + one.to_string();
    return text;
}

}

TEST_SUITE("dns") {

TEST_CASE("resolv.conf: the first three nameservers that are addresses") {
    CHECK(words(read_nameservers("", 53)) == "");
    CHECK(words(read_nameservers("search x\nnameserver 10.0.0.1\n", 53)) == "10.0.0.1:53");
    CHECK(words(read_nameservers("nameserver\t10.0.0.1 # ours\n nameserver fd00::1", 53)) ==
          "10.0.0.1:53 [fd00::1]:53");
    CHECK(words(read_nameservers(
              "#nameserver 1.1.1.1\n;nameserver 1.1.1.1\nnameserver\nnameserver x\nnameservers 2.2.2.2\n"
              "nameserver fe80::1%eth0\nnameserver 10.0.0.4\n",
              53)) == "10.0.0.4:53");
    CHECK(words(read_nameservers("nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4\n",
                                 5)) == "1.0.0.1:5 1.0.0.2:5 1.0.0.3:5");
}

TEST_CASE("resolv.conf: is read again when it changes, and the last good one stays") {
    auto file = std::filesystem::temp_directory_path() / ("resolv-" + std::to_string(::getpid()));
    auto write = [&](const char* text) {
        // As it is replaced in earnest: another file under the same name.
        std::ofstream{file.string() + ".new"} << text;
        std::filesystem::rename(file.string() + ".new", file);
    };
    auto now = Nameservers::Clock::now();
    Nameservers servers{file, 53};
    CHECK(words(servers.in_order(now)) == "");
    write("nameserver 10.0.0.1\nnameserver 10.0.0.2\n");
    CHECK(words(servers.in_order(now)) == "");
    CHECK(words(servers.in_order(now + 1s)) == "10.0.0.1:53 10.0.0.2:53");
    write("nameserver 10.0.0.3\n");
    CHECK(words(servers.in_order(now + 2s)) == "10.0.0.3:53");
    write("");
    CHECK(words(servers.in_order(now + 3s)) == "10.0.0.3:53");
    std::filesystem::remove(file);
    CHECK(words(servers.in_order(now + 4s)) == "10.0.0.3:53");
}

TEST_CASE("resolv.conf: who was silent comes last for ten seconds") {
    auto file = std::filesystem::temp_directory_path() / ("resolv-" + std::to_string(::getpid()));
    std::ofstream{file} << "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
    auto now = Nameservers::Clock::now();
    Nameservers servers{file, 53};
    servers.in_order(now);
    servers.is_silent({*base::IpAddress::parse("10.0.0.1"), 53}, now);
    CHECK(words(servers.in_order(now + 9s)) == "10.0.0.2:53 10.0.0.3:53 10.0.0.1:53");
    CHECK(words(servers.in_order(now + 11s)) == "10.0.0.1:53 10.0.0.2:53 10.0.0.3:53");
    std::filesystem::remove(file);
}

}
