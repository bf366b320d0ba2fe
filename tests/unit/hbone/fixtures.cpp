// SPDX-License-Identifier: Apache-2.0
#include "fixtures.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace fixtures {
namespace {

const tls::Authority& authority() {
    static const auto kept = [] {
        char folder[] = "/tmp/culvert-hbone-XXXXXX";
        if (!::mkdtemp(folder)) throw std::runtime_error{"no folder for a CA"};
        auto made = tls::Authority::keep(folder, "cluster.local");
        std::filesystem::remove_all(folder);
        if (!made) throw std::runtime_error{made.error().to_string()};
        return std::move(*made);
    }();
    return *kept;
}

base::Fd tcp_socket(int family) {
    return base::Fd{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

}

std::string spiffe(const std::string& service_account) {
    return "spiffe://cluster.local/ns/test/sa/" + service_account;
}

tls::CredentialsPtr credentials(const std::string& service_account, std::chrono::seconds lifetime) {
    auto identity = *state::Identity::parse(spiffe(service_account));
    auto pem = authority().issue(identity, lifetime);
    if (!pem) throw std::runtime_error{pem.error().to_string()};
    auto made = tls::make_credentials(identity, *pem);
    if (!made) throw std::runtime_error{made.error().to_string()};
    return *made;
}

void Talker::start(hbone::Stream s) {
    stream = std::move(s);
    stream.attach(*this);
    if (stream) stream.want_to_send();
}

void Talker::say(std::uint64_t bytes) {
    to_send += bytes;
    stream.want_to_send();
}

void Talker::finish() {
    then_end = true;
    stream.want_to_send();
}

void Talker::read_again() {
    reads = true;
    stream.consumed(std::exchange(unread_, 0));
}

Filled Talker::fill(std::span<std::byte> room) {
    ++fills;
    CHECK(!sent_end);
    auto n = static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), to_send - sent));
    for (std::size_t i = 0; i < n; ++i) room[i] = pattern(sent + i);
    sent += n;
    if (sent < to_send) return {n, Outcome::more};
    sent_end = then_end;
    return {n, then_end ? Outcome::end : Outcome::drained};
}

void Talker::on_data(std::span<const std::byte> data) {
    CHECK(!got_end);
    for (std::byte b : data) corrupt |= b != pattern(received++);
    unread_ += data.size();
    if (gone_on_data) stream = {};
}

void Talker::on_batch_end() {
    ++batches;
    if (reads) stream.consumed(std::exchange(unread_, 0));
}

void Talker::on_end() {
    CHECK(!got_end);
    got_end = true;
    if (gone_on_end) stream = {};
}

void Talker::on_reset(const base::Error& why) {
    reset = why.to_string();
}

void Echo::start(hbone::Stream s) {
    stream = std::move(s);
    stream.attach(*this);
}

Filled Echo::fill(std::span<std::byte> room) {
    std::size_t n = std::min(room.size(), held_.size());
    std::copy_n(held_.begin(), n, room.begin());
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(n));
    stream.consumed(n);
    if (!held_.empty()) return {n, Outcome::more};
    ended = got_end_;
    return {n, got_end_ ? Outcome::end : Outcome::drained};
}

void Echo::on_data(std::span<const std::byte> data) {
    held_.insert(held_.end(), data.begin(), data.end());
    most_held = std::max(most_held, held_.size());
}

void Echo::on_batch_end() {
    stream.want_to_send();
}

void Echo::on_end() {
    got_end_ = true;
    stream.want_to_send();
}

void Echo::on_reset(const base::Error& why) {
    reset = why.to_string();
}

World::World(hbone::Settings client, hbone::Settings server_settings, const char* loopback) {
    server = std::make_unique<hbone::Server>(loop, server_settings, handshakes);
    pool = std::make_unique<hbone::Pool>(loop, *this, client);
    base::SocketAddress any{*base::IpAddress::parse(loopback), 0};
    base::Fd fd = tcp_socket(any.ip.family());
    sockaddr_storage raw;
    socklen_t length = any.to(raw);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0 || ::listen(fd.get(), 64) != 0)
        throw std::runtime_error{"no listener on loopback"};
    address = base::local_address(fd.get());
    listener_ = std::move(*base::Socket::watch(loop, std::move(fd)));
}

World::~World() {
    tasks.cancel_all();
    pool.reset();
}

Task<> World::run(Task<> story) {
    co_await std::move(story);
    over_ = true;
    loop.stop();
}

void World::play(Task<> story) {
    tasks.spawn(accept());
    tasks.spawn(run(std::move(story)));
    base::Timer limit{loop, [this] { loop.stop(); }};
    limit.arm(60s);
    loop.run();
    CHECK(over_);
}

Task<bool> World::until(std::function<bool()> truth, std::chrono::milliseconds limit) {
    auto deadline = Loop::Clock::now() + limit;
    while (!truth()) {
        if (Loop::Clock::now() > deadline) co_return false;
        co_await base::sleep_for(loop, 1ms);
    }
    co_return true;
}

hbone::PoolKey World::key(const std::string& pod) const {
    return {pod, client_credentials->identity, accepted, address};
}

Task<base::Result<hbone::Stream>> World::open(std::string to) {
    hbone::Request request{.authority = std::move(to),
                           .baggage = "k8s.namespace.name=test",
                           .forwarded = "for=\"10.0.0.1:1234\"",
                           .traceparent = "00-05a3dbbb44546c257e640dbadbc8b594-601cc292722faf80-00"};
    return pool->open(key(), client_credentials, std::move(request));
}

Task<base::Result<std::unique_ptr<base::Socket>>> World::dial(const hbone::PoolKey& key) {
    ++dials;
    base::Fd fd = tcp_socket(key.peer.ip.family());
    auto socket = co_await base::connect(loop, std::move(fd), key.peer);
    co_return socket;
}

void World::on_request(hbone::Incoming incoming) {
    infos.push_back(incoming.tunnel());
    if (answer) return answer(std::move(incoming));
    echoes.push_back(std::make_unique<Echo>());
    echoes.back()->start(incoming.accept("k8s.namespace.name=test"));
}

Task<> World::accept() {
    for (;;) {
        co_await listener_->wait_readable();
        base::Fd fd{::accept4(listener_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (!fd)
            listener_->drained();
        else if (takes_connection)
            takes_connection(std::move(fd));
        else
            tasks.spawn(serve(std::move(fd)));
    }
}

Task<> World::serve(base::Fd fd) {
    auto socket = base::Socket::watch(loop, std::move(fd));
    auto ended = co_await server->serve(std::move(*socket), server_credentials, *this);
    server_ends.push_back(ended ? "" : ended.error().to_string());
}

Task<> Opening::wait(Task<base::Result<hbone::Stream>> asked) {
    auto answer = co_await std::move(asked);
    if (answer)
        stream = std::move(*answer);
    else
        error = answer.error().to_string();
    over = true;
}

}
