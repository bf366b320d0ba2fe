// SPDX-License-Identifier: Apache-2.0
#include <culvert/zds/client.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <culvert/base/log.hpp>

#include "backoff.hpp"
#include "conversation.hpp"
#include "receive.hpp"

namespace culvert::zds {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::string_view stream_scope = "inpod::workloadmanager";
constexpr const char* task = "workload proxy manager";  // in the words of the readiness door

base::Result<base::Fd> connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return base::problem(path + " is too long for a socket's path");
    std::memcpy(address.sun_path, path.data(), path.size());
    base::Fd fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    // Of a local socket this is over at once, or EAGAIN: the agent has as many waiting as it may.
    if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        return base::errno_while("connect to " + path);
    return fd;
}

// One message is on its way at a time, so there is room for it, or the agent is gone.
base::Result<> say(int socket, const std::string& message) {
    if (::send(socket, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return base::errno_while("answer the agent");
    return {};
}

}

class Client::Impl : public std::enable_shared_from_this<Impl> {
public:
    Impl(asio::io_context& io, std::string path, Handler& handler, Pace pace)
        : io_{io},
          path_{std::move(path)},
          handler_{handler},
          pace_{pace},
          conversation_{handler},
          to_connect_{pace.to_connect, pace.longest},
          to_begin_{pace.to_begin, pace.longest, 0.2},
          socket_{io},
          later_{io},
          retry_{io} {}

    // Not from the constructor's caller: the handler may not be whole yet.
    void start() {
        asio::post(io_, [self = shared_from_this()] {
            if (!self->stopped_) self->begin();
        });
    }

    void stop() {
        stopped_ = true;
        close();
        later_.cancel();
        retry_.cancel();
    }

    bool connected() const noexcept { return socket_.is_open(); }
    const Conversation& conversation() const noexcept { return conversation_; }

private:
    void begin() {
        auto connection = connect(path_);
        if (!connection) return again_after(to_connect_.next(), connection.error().to_string());
        to_connect_.reset();
        began_ = Clock::now();
        socket_.assign(connection->release());
        conversation_.begin();
        if (auto said = say(socket_.native_handle(), hello()); !said) return lost(said.error().to_string());
        base::log::info(stream_scope, "handling new stream");
        said_.clear();
        tell();
        wait();
    }

    void wait() {
        socket_.async_wait(asio::posix::descriptor_base::wait_read, [self = shared_from_this()](error_code failed) {
            if (!failed && !self->stopped_) self->hear();
        });
    }

    void hear() {
        auto received = receive(socket_.native_handle());
        if (!received) return lost(received.error().to_string());
        if (received->message.empty()) return lost("the agent has closed the connection");
        auto answer = received->cut ? unreadable("it was cut, there is more than one may send")
                                    : conversation_.hear(received->message, std::move(received->descriptors));
        if (auto said = say(socket_.native_handle(), answer.message); !said) return lost(said.error().to_string());
        if (!answer.fault.empty()) return lost(answer.fault);
        retry_later();
        tell();
        wait();
    }

    // Pods stay as they are.
    void lost(const std::string& why) {
        close();
        if (Clock::now() - began_ >= pace_.good) to_begin_.reset();
        again_after(to_begin_.next(), why);
    }

    void again_after(Backoff::Delay delay, const std::string& why) {
        if (said_ != why) base::log::warn(stream_scope, "process stream ended: {}. Trying again", why);
        said_ = why;
        tell();
        later_.expires_after(delay);
        later_.async_wait([self = shared_from_this()](error_code cancelled) {
            if (!cancelled && !self->stopped_) self->begin();
        });
    }

    void close() {
        error_code ignored;
        socket_.close(ignored);
    }

    void retry_later() {
        if (retry_waits_ || conversation_.pending() == 0) return;
        retry_waits_ = true;
        retry_.expires_after(pace_.retry);
        retry_.async_wait([self = shared_from_this()](error_code cancelled) {
            if (cancelled || self->stopped_) return;
            self->retry_waits_ = false;
            self->conversation_.retry();
            self->retry_later();
            self->tell();
        });
    }

    void tell() {
        std::string now = connected() && conversation_.named_all() && conversation_.pending() == 0 ? "" : task;
        if (now == told_) return;
        told_ = now;
        handler_.waits_for(now);
    }

    asio::io_context& io_;
    const std::string path_;
    Handler& handler_;
    const Pace pace_;
    Conversation conversation_;
    Backoff to_connect_;
    Backoff to_begin_;
    asio::posix::stream_descriptor socket_;
    asio::steady_timer later_;
    asio::steady_timer retry_;
    Clock::time_point began_;
    std::string said_;  // last, of why there is no connection: once, not at every attempt
    std::string told_ = "nothing yet";
    bool retry_waits_ = false;
    bool stopped_ = false;
};

Client::Client(asio::io_context& io, std::string path, Handler& handler, Pace pace)
    : impl_{std::make_shared<Impl>(io, std::move(path), handler, pace)} {
    impl_->start();
}

Client::~Client() {
    impl_->stop();
}

bool Client::connected() const noexcept {
    return impl_->connected();
}

std::size_t Client::pods() const noexcept {
    return impl_->conversation().pods();
}

std::size_t Client::pending() const noexcept {
    return impl_->conversation().pending();
}

}
