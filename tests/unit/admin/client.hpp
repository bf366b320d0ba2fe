// SPDX-License-Identifier: Apache-2.0
// A door that is open in a thread of its own, and a client that speaks to it byte by byte.
#pragma once
#include <sys/socket.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <future>
#include <string>
#include <thread>

#include <culvert/admin/doors.hpp>
#include <culvert/base/fd.hpp>

struct OpenDoor {
    explicit OpenDoor(culvert::admin::Routes routes, culvert::admin::DoorLimits limits = {}) {
        open(std::move(routes), limits);
    }
    explicit OpenDoor(culvert::admin::FullRoutes routes) { open(std::move(routes), {}); }
    template <class SomeRoutes>
    void open(SomeRoutes routes, culvert::admin::DoorLimits limits) {
        auto loopback = culvert::base::SocketAddress::parse("127.0.0.1:0").value();
        auto opened = culvert::admin::Door::open(io, loopback, std::move(routes), limits);
        REQUIRE(opened.has_value());
        door = std::move(*opened);
        address = door->address();
        thread = std::thread{[this] { io.run(); }};
    }
    ~OpenDoor() {
        io.stop();
        thread.join();
    }
    // Closes the door where it lives, and returns when that is done.
    void close() {
        std::promise<void> closed;
        boost::asio::post(io, [&] {
            door.reset();
            closed.set_value();
        });
        closed.get_future().wait();
    }
    boost::asio::io_context io{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
    std::unique_ptr<culvert::admin::Door> door;
    culvert::base::SocketAddress address;
    std::thread thread;
};

class Client {
public:
    explicit Client(const culvert::base::SocketAddress& to, int receive_buffer = 0, const char* from = "127.0.0.1")
        : socket_{::socket(to.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        if (receive_buffer) ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        timeval limit{10, 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        sockaddr_storage raw;
        auto length = culvert::base::SocketAddress{*culvert::base::IpAddress::parse(from)}.to(raw);
        REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0);
        length = to.to(raw);
        REQUIRE(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0);
    }
    // False when the door has cut us off.
    bool send(std::string_view text) {
        return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
    }
    // One response: its head and as much body as Content-Length says. Empty when the door closed instead.
    std::string response() {
        auto head_end = std::string::npos;
        while ((head_end = received_.find("\r\n\r\n")) == std::string::npos)
            if (!receive()) return {};
        auto length_at = received_.find("Content-Length: ");
        REQUIRE(length_at < head_end);
        auto size = head_end + 4 + std::stoul(received_.substr(length_at + 16));
        while (received_.size() < size)
            if (!receive()) return {};
        auto one = received_.substr(0, size);
        received_.erase(0, size);
        return one;
    }
    std::string get(std::string_view path) {
        send("GET " + std::string{path} + " HTTP/1.1\r\nHost: door\r\n\r\n");
        return response();
    }
    // Takes what comes up to the end of this text. False: it does not come.
    bool reads(std::string_view text) {
        std::string::size_type at = 0;
        while ((at = received_.find(text)) == std::string::npos)
            if (!receive()) return false;
        received_.erase(0, at + text.size());
        return true;
    }
    // Waits for the door to close; false when there is something else to read, or nothing happens for ten seconds.
    bool closed() { return ended_politely() || errno == ECONNRESET; }
    // The same, and it did not reset the connection.
    bool ended_politely() {
        char byte;
        errno = 0;
        return received_.empty() && ::recv(socket_.get(), &byte, 1, 0) == 0;
    }

private:
    bool receive() {
        char buffer[16384];
        auto n = ::recv(socket_.get(), buffer, sizeof buffer, 0);
        if (n > 0) received_.append(buffer, static_cast<std::size_t>(n));
        return n > 0;
    }
    culvert::base::Fd socket_;
    std::string received_;
};

inline bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}
