// SPDX-License-Identifier: Apache-2.0
#include <culvert/zds/client.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
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

constexpr const char* task = "workload proxy manager";

// An agent, its socket, and a client of it on this thread.
struct Bench {
    fs::path folder = fs::temp_directory_path() / ("culvert-zds-" + std::to_string(::getpid()));
    fs::path path = folder / "agent.sock";
    base::Fd door;
    base::Fd connection;
    boost::asio::io_context io;
    Told told;
    std::unique_ptr<Client> client;

    Bench() {
        fs::remove_all(folder);
        fs::create_directories(folder);
    }
    ~Bench() {
        client.reset();
        fs::remove_all(folder);
    }

    void open_door() {
        door = base::Fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, path.c_str());
        fs::remove(path);
        REQUIRE(::bind(door.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(door.get(), 16) == 0);
    }
    void close_door() {
        door.reset();
        fs::remove(path);
    }
    void start(Pace pace = {2ms, 2ms, 50ms, 1000ms, 30ms}) {
        client = std::make_unique<Client>(io, path.string(), told, pace);
    }

    // Lets the client work until it is so.
    template <class Fn>
    bool until(Fn is_so, std::chrono::milliseconds limit = 5s) {
        for (auto end = Clock::now() + limit; Clock::now() < end;) {
            if (is_so()) return true;
            io.restart();
            io.run_one_for(5ms);
        }
        return false;
    }
    bool accept(std::chrono::milliseconds limit = 5s) {
        return until(
            [this] {
                connection = base::Fd{::accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
                return static_cast<bool>(connection);
            },
            limit);
    }
    // "end" when the client has closed the connection.
    std::string read() {
        char bytes[2048];
        ssize_t got = -1;
        if (!until([&] { return (got = ::recv(connection.get(), bytes, sizeof bytes, 0)) >= 0; })) return "nothing";
        return got == 0 ? "end" : std::string{bytes, static_cast<std::size_t>(got)};
    }
    bool connects() { return accept() && read() == "\x08\x01"; }
    bool silent() {
        io.restart();
        io.run_for(50ms);
        char byte;
        return ::recv(connection.get(), &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
    }

    void say(const std::string& message, const std::vector<int>& descriptors = {}) {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)]{};
        iovec data{const_cast<char*>(message.data()), message.size()};
        msghdr header{};
        header.msg_iov = &data;
        header.msg_iovlen = 1;
        if (!descriptors.empty()) {
            header.msg_control = control;
            header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
            cmsghdr* rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
            std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof(int) * descriptors.size());
        }
        REQUIRE(::sendmsg(connection.get(), &header, MSG_NOSIGNAL) == static_cast<ssize_t>(message.size()));
    }
    std::string ask(const std::string& message, const std::vector<int>& descriptors = {}) {
        say(message, descriptors);
        return read();
    }
    std::string ask_add(const std::string& uid) {
        auto netns = a_netns();
        return ask(add(uid), {netns.get()});
    }
};

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& one : fs::directory_iterator{"/proc/self/fd"}) ++count;
    return count;
}

}

TEST_SUITE("zds") {

TEST_CASE("client: finds an agent that comes later, and is ready when all pods are named") {
    Bench bench;
    bench.start();
    CHECK(bench.until([&] { return bench.told.waits == task; }));
    CHECK_FALSE(bench.client->connected());
    bench.open_door();
    REQUIRE(bench.connects());
    CHECK(bench.silent());
    CHECK(bench.ask_add("a") == good);
    CHECK(bench.told.waits == task);
    CHECK(bench.ask(snapshot_sent()) == good);
    CHECK(bench.told.waits == "");
    CHECK(bench.told.take() == Words{"added a shop/web as seller", "all a"});
    CHECK(bench.silent());
}

TEST_CASE("client: a netns comes as the same file, and not to our children") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    CHECK(bench.ask_add("a") == good);
    int its = bench.told.netns["a"]->get();
    CHECK(::fcntl(its, F_GETFD) == FD_CLOEXEC);
    CHECK(fs::equivalent("/proc/self/fd/" + std::to_string(its), "/proc/self/ns/net"));
}

TEST_CASE("client: pods outlive the connection, and the next agent says who stays") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    bench.ask_add("a");
    bench.ask_add("b");
    bench.ask(snapshot_sent());
    bench.told.take();
    bench.connection.reset();
    REQUIRE(bench.connects());
    CHECK(bench.told.waits == task);
    CHECK(bench.told.take().empty());
    CHECK(bench.ask(keep("b")) == good);
    CHECK(bench.ask(snapshot_sent()) == good);
    CHECK(bench.told.take() == Words{"removed a", "all b"});
    CHECK(bench.told.waits == "");
}

TEST_CASE("client: what has no place is answered, and the agent met again") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    bench.ask(snapshot_sent());
    CHECK(error_in(bench.ask(snapshot_sent())) == "failure to process message : pod snapshot received already");
    CHECK(bench.read() == "end");
    REQUIRE(bench.connects());
    CHECK(error_in(bench.ask("junk")).starts_with("failure to read message"));
    CHECK(bench.read() == "end");
    CHECK(bench.connects());
}

TEST_CASE("client: more bytes or descriptors than one may send end the connection, and none stays open") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    CHECK(error_in(bench.ask(std::string(1025, 'x'))).starts_with("failure to read message"));
    CHECK(bench.read() == "end");

    REQUIRE(bench.connects());
    auto netns = a_netns();
    auto before = open_descriptors();
    CHECK(error_in(bench.ask(add("a"), {netns.get(), netns.get()})) ==
          "failure to read message : Expected 1 FD, got 2");
    CHECK(bench.read() == "end");
    CHECK(open_descriptors() < before);  // the connection's own

    REQUIRE(bench.connects());
    before = open_descriptors();
    CHECK(error_in(bench.ask(add("a"), std::vector<int>(9, netns.get()))).starts_with("failure to read message"));
    CHECK(bench.read() == "end");
    CHECK(open_descriptors() < before);
    CHECK(bench.told.take().empty());
}

TEST_CASE("client: a descriptor that comes with another message is closed") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    auto netns = a_netns();
    auto before = open_descriptors();
    CHECK(bench.ask(keep("a"), {netns.get()}) == good);
    CHECK(open_descriptors() == before);
}

TEST_CASE("client: a pod that could not be added keeps the node from being ready, and is tried again unasked") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    bench.told.refuses["a"] = "port 15008 is taken";
    CHECK(error_in(bench.ask_add("a")) == "failure to start proxy : port 15008 is taken");
    CHECK(bench.ask(snapshot_sent()) == good);
    CHECK(bench.told.waits == task);
    CHECK(bench.client->pending() == 1);
    bench.told.refuses.clear();
    CHECK(bench.until([&] { return bench.told.waits == ""; }));
    CHECK(bench.client->pending() == 0);
    CHECK(bench.silent());
}

TEST_CASE("client: an agent that is always at fault is met ever more rarely") {
    Bench bench;
    bench.open_door();
    bench.start({2ms, 2ms, 60ms, 10s, 30ms});
    unsigned met = 0;
    for (auto end = Clock::now() + 1s; Clock::now() < end;) {
        if (!bench.accept(200ms)) continue;
        ++met;
        bench.read();
        bench.say("junk");
    }
    CHECK(met > 5);
    CHECK(met < 40);  // 2, 4, 8, .. 60 ms: some 21 times
}

TEST_CASE("client: a pod that is being asked for is answered before the agent gives up, also behind another one") {
    Bench bench;
    bench.open_door();
    bench.start();
    REQUIRE(bench.connects());
    auto netns = a_netns();
    bench.say(add("a"), {netns.get()});
    bench.say(add("b"), {netns.get()});
    CHECK(bench.read() == good);
    CHECK(bench.read() == good);
    CHECK(bench.told.take().size() == 2);
}

TEST_CASE("client: a path that no socket can have is said to be too long") {
    Bench bench;
    bench.path = bench.folder / std::string(120, 'x');
    bench.start();
    CHECK(bench.until([&] { return bench.told.waits == task; }));
}

}
