// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <stdexcept>
#include <system_error>

#include "visit.hpp"

namespace culvert::test {
namespace {

base::Fd listen_on(int netns, std::uint16_t port, const std::function<void(int)>& prepare) {
    return visit(netns, [&] {
        base::Fd socket{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const int one = 1;
        const int zero = 0;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        if (prepare) prepare(socket.get());
        sockaddr_in6 any{};
        any.sin6_family = AF_INET6;
        any.sin6_port = htons(port);
        if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 ||
            ::listen(socket.get(), 1024) != 0)
            throw std::system_error(errno, std::system_category(), "listen on port " + std::to_string(port));
        return socket;
    });
}

}

Server::Server(int netns, std::uint16_t port, App app, const std::function<void(int)>& prepare)
    : app_{std::move(app)},
      listener_{listen_on(netns, port, prepare)},
      port_{base::local_address(listener_.get()).port},
      acceptor_{[this] { accept_all(); }} {}

Server::~Server() {
    ending_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);  // wakes accept()
    acceptor_.join();
    for (Session& session : sessions_) ::shutdown(session.connection.fd(), SHUT_RDWR);
    for (Session& session : sessions_) session.thread.join();
}

void Server::accept_all() {
    while (!ending_) {
        Connection connection{base::Fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
        if (!connection) continue;
        {
            std::lock_guard lock{mutex_};
            guests_.push_back({connection.peer(), connection.local()});
        }
        Session& session = sessions_.emplace_back(std::move(connection));
        session.thread = std::thread([this, &session] {
            serve(session.connection);
            session.over = true;
        });
        forget_old_sessions();
    }
}

// The latest stay open: closing one whose app has not read everything would reset it.
void Server::forget_old_sessions() {
    constexpr std::size_t kept = 300;
    for (auto session = sessions_.begin(); sessions_.size() > kept && session != sessions_.end();) {
        if (session->over) {
            session->thread.join();
            session = sessions_.erase(session);
        } else {
            ++session;
        }
    }
}

// The socket ends with the app, as a process's would; the descriptor stays until the server goes, so that nobody
// shuts down a number that has become another's.
void Server::serve(Connection& connection) {
    try {
        app_(connection);
    } catch (const std::exception& failure) {
        std::lock_guard lock{mutex_};
        if (!ending_) complaints_.emplace_back(failure.what());
    }
    if (connection) ::shutdown(connection.fd(), SHUT_RDWR);
}

std::vector<Server::Guest> Server::guests() const {
    std::lock_guard lock{mutex_};
    return guests_;
}

Server::Guest Server::guest(std::size_t n, Milliseconds limit) const {
    if (!eventually(limit, [&] { return guests().size() > n; })) throw std::runtime_error("nobody reached the app");
    return guests()[n];
}

Server::Guest Server::last_guest() const {
    const auto all = guests();
    if (all.empty()) throw std::runtime_error("nobody has reached the app");
    return all.back();
}

std::vector<std::string> Server::complaints() const {
    std::lock_guard lock{mutex_};
    return complaints_;
}

namespace apps {

void echo(Connection& connection) {
    connection.limit(60s);
    for (std::string bytes = connection.receive_some(); !bytes.empty(); bytes = connection.receive_some())
        connection.send(bytes);
    connection.end_sending();
}

App greet(std::string greeting) {
    return [greeting](Connection& connection) {
        connection.send(greeting);
        echo(connection);
    };
}

void count_then_answer(Connection& connection) {
    std::size_t count = 0;
    for (std::string bytes = connection.receive_some(); !bytes.empty(); bytes = connection.receive_some())
        count += bytes.size();
    connection.send(std::to_string(count));
}

void ignore(Connection& connection) {
    pollfd gone{connection.fd(), POLLRDHUP, 0};
    ::poll(&gone, 1, 60'000);
}

}

}
