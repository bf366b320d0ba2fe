// SPDX-License-Identifier: Apache-2.0
#include "pod.hpp"

#include <sys/socket.h>

#include <utility>

#include <culvert/base/counted.hpp>
#include <culvert/base/log.hpp>
#include <culvert/base/shortage.hpp>

#include "stream.hpp"

namespace culvert::dns {

using base::Fd;
using base::Result;
using Clock = base::Loop::Clock;

namespace {

// Datagrams, or connections, before the others have their turn.
constexpr int per_round = 32;

void tell(const Pod& pod, const Query& query, std::string_view result, std::size_t addresses) {
    base::log::debug("dns", "{}: {} {}: {}, {} addresses", pod.name, type_name(query.type),
                     query.name.empty() ? "." : query.name, result, addresses);
}

}

// Takes what waits, a share in each round of the loop.
class PodHere::UdpDoor final : public std::enable_shared_from_this<UdpDoor>, base::Ready, base::RoundEnd {
public:
    UdpDoor(PodHere& pod, Listener listener)
        : pod_{pod}, listener_{std::move(listener)}, watch_{pod.context_.loop, *this} {}
    Result<> start() { return watch_.start(listener_.fd.get(), EPOLLIN); }
    void stop() {
        watch_.stop();
        unlink();
    }

    void answer(const Parties& parties, View bytes) const {
        if (listener_.as_asked)
            send_as_asked(listener_.as_asked.get(), parties, bytes);
        else
            send_back(listener_.fd.get(), parties, bytes);
    }

private:
    void on_ready(std::uint32_t) override { take_some(); }
    void on_round_end() override { take_some(); }

    void take_some() {
        for (int i = 0; i < per_round; ++i) {
            auto datagram = receive(listener_.fd.get(), pod_.context_.buffer);
            // Another error is one that an earlier answer has met: it is told once.
            if (!datagram && errno == EAGAIN) return;
            if (datagram) base::shortage::guard("a DNS request", [&] { take(*datagram); });
        }
        pod_.context_.loop.at_round_end(*this);
    }

    void take(const Datagram& datagram) {
        Asked asked = pod_.look_up(datagram.message, Transport::udp);
        if (!asked.answer.empty()) return answer(datagram.parties, asked.answer);
        if (!asked.ask) return;
        Bytes request{datagram.message.begin(), datagram.message.end()};
        pod_.tasks_.spawn(
            pod_.answer_later(shared_from_this(), datagram.parties, std::move(request), std::move(asked)));
    }

    PodHere& pod_;
    Listener listener_;
    base::Watch watch_;
};

class PodHere::TcpDoor final : base::Ready, base::RoundEnd {
public:
    TcpDoor(PodHere& pod, Fd fd)
        : pod_{pod}, fd_{std::move(fd)}, watch_{pod.context_.loop, *this}, retry_{pod.context_.loop, [this] {
                                                                                      take();
                                                                                  }} {}
    Result<> start() { return watch_.start(fd_.get(), EPOLLIN); }

private:
    void on_ready(std::uint32_t) override { take(); }
    void on_round_end() override { take(); }

    void take() {
        for (int i = 0; i < per_round; ++i) {
            Fd connection{::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
            if (connection) {
                pod_.serve(std::move(connection));
                continue;
            }
            if (errno == EAGAIN || errno == EINVAL) return;
            // It waits until there is room for it.
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                return retry_.arm(std::chrono::milliseconds{100});
        }
        pod_.context_.loop.at_round_end(*this);
    }

    PodHere& pod_;
    Fd fd_;
    base::Watch watch_;
    base::Timer retry_;
};

PodHere::PodHere(Context& context, Pod pod) : context_{context}, pod_{std::move(pod)}, tasks_{context.loop} {}
PodHere::~PodHere() = default;

void PodHere::listen(std::vector<Listener> listeners) {
    udp_.clear();
    tcp_.clear();
    auto start = [this](auto& door) {
        if (auto started = door->start(); !started)
            base::log::error("dns", "pod {}: {}", pod_.name, started.error().to_string());
    };
    for (Listener& listener : listeners) {
        if (listener.transport == Transport::udp) {
            start(udp_.emplace_back(std::make_shared<UdpDoor>(*this, std::move(listener))));
        } else {
            start(tcp_.emplace_back(std::make_unique<TcpDoor>(*this, std::move(listener.fd))));
        }
    }
}

void PodHere::serve(Fd connection) {
    if (conversations_ >= context_.settings.connections_per_pod) return context_.counters.refused.add();
    tasks_.spawn(converse(std::move(connection)));
}

// Of conversations, those that wait for another question end with the deadline.
void PodHere::wind_down() {
    leaving_ = true;
    for (auto& door : udp_) door->stop();
    tcp_.clear();
}

bool PodHere::has_room() {
    if (asking_ < context_.settings.questions_per_pod) return true;
    context_.counters.refused.add();
    return false;
}

PodHere::Asked PodHere::look_up(View request, Transport transport) {
    auto parsed = parse_query(request);
    if (const auto* refused = std::get_if<Rcode>(&parsed)) return {write_error(request, *refused)};
    const auto* query = std::get_if<Query>(&parsed);
    if (!query) {
        context_.counters.no_requests.add();
        return {};
    }
    const auto names = context_.names;
    const auto client = names ? names->mesh().workload_by_uid(pod_.workload) : nullptr;
    Row& row = context_.counters.row(query->type, transport, client.get());
    row.requests.add();
    if (!client) {
        tell(pod_, *query, "this pod is unknown", 0);
        return {write_error(request, Rcode::failed)};
    }
    if (query->edns && query->edns->version != 0) return {write_error(request, Rcode::bad_version)};
    if (query->asks_for_addresses()) {
        if (auto answer = names->find(*client, query->name, query->type, context_.random)) {
            tell(pod_, *query, "known", answer->addresses.size());
            std::size_t most = transport == Transport::udp ? query->most_by_udp() : longest_message;
            return {write_answer(request, *query, *answer, most)};
        }
    }
    if (!has_room()) return {write_error(request, Rcode::failed)};
    tell(pod_, *query, "forwarded", 0);
    return {{}, true, &row, query->most_by_udp()};
}

base::Task<Result<Bytes>> PodHere::ask(Transport transport, Bytes request, Row& row) {
    base::Counted one_more{asking_};
    const auto begun = Clock::now();
    row.upstream.add();
    auto asking = transport == Transport::udp ? ask_by_udp(context_, pod_.netns, std::move(request))
                                              : ask_by_tcp(context_, pod_.netns, std::move(request));
    auto answer = co_await std::move(asking);
    row.answered_after(Clock::now() - begun);
    if (!answer) {
        row.failures.add();
        base::log::debug("dns", "{}: {}", pod_.name, answer.error().to_string());
    }
    co_return answer;
}

base::Task<> PodHere::answer_later(std::shared_ptr<UdpDoor> door, Parties parties, Bytes request, Asked asked) {
    auto asking = ask(Transport::udp, request, *asked.row);
    auto answer = co_await std::move(asking);
    if (answer) {
        make_own(*answer, request, asked.most_by_udp);
        door->answer(parties, *answer);
    } else {
        door->answer(parties, write_error(request, Rcode::failed));
    }
}

// One question after the other, until the client has no more.
base::Task<> PodHere::converse(Fd connection) {
    base::Counted one_more{conversations_};
    auto watched = base::Socket::watch(context_.loop, std::move(connection));
    if (!watched) co_return;
    base::Socket& socket = **watched;
    (void)base::set_reset_on_close(socket.fd(), false);
    for (;;) {
        auto reading = base::within(context_.loop, context_.settings.idle, "read a question", read_message(socket));
        auto request = co_await std::move(reading);
        if (!request) co_return;
        Asked asked = look_up(*request, Transport::tcp);
        Bytes answer = std::move(asked.answer);
        if (asked.ask) {
            auto asking = ask(Transport::tcp, *request, *asked.row);
            auto foreign = co_await std::move(asking);
            if (foreign) {
                answer = std::move(*foreign);
                make_own(answer, *request, longest_message);
            } else {
                answer = write_error(*request, Rcode::failed);
            }
        }
        // No request: there is nothing to say to this client any more.
        if (answer.empty()) co_return;
        auto writing =
            base::within(context_.loop, context_.settings.idle, "answer", write_message(socket, std::move(answer)));
        auto written = co_await std::move(writing);
        if (!written || leaving_) co_return;
    }
}

}
