// SPDX-License-Identifier: Apache-2.0
#include "upstream.hpp"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include <culvert/base/netns.hpp>
#include <culvert/base/socket.hpp>
#include <culvert/bpf/marks.h>

#include "stream.hpp"

namespace culvert::dns {
namespace {

using base::Fd;
using base::Result;
using Clock = base::Loop::Clock;

Result<Fd> make_socket(int netns, const base::SocketAddress& server, int type) {
    auto make = [&]() -> Result<Fd> {
        Fd fd{::socket(server.ip.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        if (!fd) return base::errno_while("make a socket to ask " + server.ip.to_string());
        return fd;
    };
    if (server.ip.is_loopback()) return make();
    auto made = base::in_netns(netns, make);
    if (!made) return made;
    // By this mark the rules tell our questions from the app's.
    std::uint32_t mark = CV_MARK_PROXY;
    if (::setsockopt(made->get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        return base::errno_while("mark a socket to ask " + server.ip.to_string());
    return made;
}

// One question at one nameserver, from a port and with an id of its own. Connected: nobody else can answer.
class Attempt final : base::Ready {
public:
    Attempt(Context& context, base::SocketAddress server, base::Event& news)
        : context_{context}, server_{server}, news_{news}, watch_{context.loop, *this} {}

    Result<> start(int netns, Bytes request) {
        auto made = make_socket(netns, server_, SOCK_DGRAM);
        if (!made) return made.error();
        fd_ = std::move(*made);
        sockaddr_storage raw;
        socklen_t size = server_.to(raw);
        if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0)
            return base::errno_while("reach nameserver " + server_.to_string());
        id_ = context_.ids.next();
        set_id(request, id_);
        if (::send(fd_.get(), request.data(), request.size(), 0) < 0)
            return base::errno_while("ask nameserver " + server_.to_string());
        return watch_.start(fd_.get(), EPOLLIN);
    }

    // The answer, if it is there. What is not one is thrown away; an error ends the attempt.
    std::optional<Bytes> take(View request) {
        while (alive()) {
            auto& buffer = context_.buffer;
            auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
            if (got < 0 && errno == EAGAIN) break;
            if (got < 0) {
                failure_ = base::errno_while("ask nameserver " + server_.to_string());
                end();
                break;
            }
            View answer{buffer.data(), static_cast<std::size_t>(got)};
            if (answers(answer, request, id_)) return Bytes{answer.begin(), answer.end()};
        }
        return {};
    }

    void end() {
        watch_.stop();
        fd_.reset();
    }
    bool alive() const noexcept { return static_cast<bool>(fd_); }
    const base::SocketAddress& server() const noexcept { return server_; }
    const std::optional<base::Error>& failure() const noexcept { return failure_; }

private:
    void on_ready(std::uint32_t) override { news_.set(); }

    Context& context_;
    base::SocketAddress server_;
    base::Event& news_;
    Fd fd_;
    base::Watch watch_;
    std::uint16_t id_ = 0;
    std::optional<base::Error> failure_;
};

base::Error nobody_to_ask(const Context& context) {
    return base::problem("no nameserver in " + context.settings.resolv_conf);
}

Result<Bytes> no_answer(std::string doing) {
    return base::Error{{ETIMEDOUT, boost::system::system_category()}, std::move(doing)};
}

}

std::uint16_t Ids::next() {
    if (left_ == 0) {
        auto bytes = sizeof numbers_;
        CV_CHECK(::getrandom(numbers_.data(), bytes, 0) == static_cast<ssize_t>(bytes),
                 "the kernel gives so few bytes at once, always");
        left_ = numbers_.size();
    }
    return numbers_[--left_];
}

// One nameserver after the other; who is slow may still answer while the next is asked.
base::Task<Result<Bytes>> ask_by_udp(Context& context, Netns netns, Bytes request) {
    const auto servers = context.nameservers.in_order(Clock::now());
    if (servers.empty()) co_return nobody_to_ask(context);
    base::Event news{context.loop};
    base::Timer next{context.loop, [&news] { news.set(); }};
    std::vector<std::unique_ptr<Attempt>> attempts;
    std::optional<Bytes> refusal;  // of one; another may know better
    std::optional<base::Error> failure;
    const auto until = Clock::now() + context.settings.give_up;
    std::size_t asked = 0;
    for (;;) {
        for (auto& attempt : attempts) {
            auto answer = attempt->take(request);
            if (attempt->failure()) failure = attempt->failure();
            if (!answer) continue;
            attempt->end();
            if (!is_failure(*answer)) co_return std::move(*answer);
            refusal = std::move(answer);
        }
        const bool waiting = std::ranges::any_of(attempts, [](const auto& one) { return one->alive(); });
        const auto now = Clock::now();
        // All had their turn, and none is still thinking about it.
        if ((!waiting && asked >= servers.size()) || now >= until) break;
        if (!waiting || !next.armed()) {
            // Who has not answered in time. Asked again only where there is nobody else.
            if (waiting) context.nameservers.is_silent(attempts.back()->server(), now);
            auto attempt = std::make_unique<Attempt>(context, servers[asked++ % servers.size()], news);
            auto started = attempt->start(netns->get(), request);
            if (!started) {
                failure = started.error();
                attempt->end();
            }
            attempts.push_back(std::move(attempt));
            next.arm(std::min<Clock::duration>(context.settings.next_server, until - now));
            if (!started) continue;
        }
        news.reset();
        co_await news;
    }
    if (refusal) co_return std::move(*refusal);
    if (failure) co_return std::move(*failure);
    co_return no_answer("wait for an answer of " + servers.front().to_string());
}

namespace {

base::Task<Result<Bytes>> ask_one_by_tcp(Context& context, Netns netns, base::SocketAddress server, Bytes request) {
    auto made = make_socket(netns->get(), server, SOCK_STREAM);
    if (!made) co_return made.error();
    if (auto claimed = context.settings.claim(made->get()); !claimed) co_return claimed.error();
    auto connecting = base::connect(context.loop, std::move(*made), server);
    auto connected = co_await std::move(connecting);
    if (!connected) co_return connected.error();
    base::Socket& socket = **connected;
    const std::uint16_t id = context.ids.next();
    Bytes numbered = request;
    set_id(numbered, id);
    auto writing = write_message(socket, std::move(numbered));
    auto written = co_await std::move(writing);
    if (!written) co_return written.error();
    for (;;) {
        auto reading = read_message(socket);
        auto answer = co_await std::move(reading);
        if (!answer) co_return answer.error();
        if (answers(*answer, request, id)) co_return std::move(*answer);
    }
}

}

base::Task<Result<Bytes>> ask_by_tcp(Context& context, Netns netns, Bytes request) {
    const auto servers = context.nameservers.in_order(Clock::now());
    if (servers.empty()) co_return nobody_to_ask(context);
    const auto share = context.settings.give_up / static_cast<int>(servers.size());
    Result<Bytes> last = nobody_to_ask(context);
    for (const auto& server : servers) {
        auto asking = ask_one_by_tcp(context, netns, server, request);
        auto limited = base::within(context.loop, share, "ask nameserver " + server.to_string(), std::move(asking));
        last = co_await std::move(limited);
        if (last && !is_failure(*last)) break;
    }
    co_return last;
}

}
