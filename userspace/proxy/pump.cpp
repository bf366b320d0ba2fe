// SPDX-License-Identifier: Apache-2.0
#include "pump.hpp"

#include <algorithm>

#include <culvert/base/shortage.hpp>

namespace culvert::proxy {
namespace {

// An app's reset, or a write to an app that has gone, is how connections end, not how they fail (ztunnel: copy.rs).
bool is_ordinary_end(int error) noexcept {
    return error == ECONNRESET || error == EPIPE || error == ENOTCONN;
}

bool would_block(int error) noexcept {
    return error == EAGAIN || error == EINTR;
}

ssize_t send_parts(int fd, iovec* parts, int count) noexcept {
    constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    if (count == 1) return ::send(fd, parts[0].iov_base, parts[0].iov_len, flags);  // the cheaper call
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = static_cast<std::size_t>(count);
    return ::sendmsg(fd, &message, flags);
}

// Those that no batch of this worker uses. As many as streams had bytes in one batch, at most these.
constexpr std::size_t most_spare_batches = 16;
thread_local std::vector<std::unique_ptr<BatchParts>> spare_batches;

// One a thread: it holds nothing between calls.
constexpr std::size_t relay_size = 64 * 1024;
thread_local std::vector<std::byte> relay;

std::unique_ptr<BatchParts> borrow_batch() {
    if (spare_batches.empty()) return std::make_unique_for_overwrite<BatchParts>();
    auto batch = std::move(spare_batches.back());
    spare_batches.pop_back();
    return batch;
}

void give_back(std::unique_ptr<BatchParts> batch) {
    if (spare_batches.size() == most_spare_batches) return;
    base::shortage::guard("a spare", [&] { spare_batches.push_back(std::move(batch)); });
}

}

void prepare_pumps_of_this_thread() {
    spare_batches.reserve(most_spare_batches);
}

void Meter::from_app(std::uint64_t bytes) noexcept {
    record.counters().bytes_to_peers.add(bytes);
    record.sent(bytes);
    outbound() ? flow.moved(bytes, 0) : flow.moved(0, bytes);
}

void Meter::to_app(std::uint64_t bytes) noexcept {
    record.counters().bytes_to_apps.add(bytes);
    record.received(bytes);
    outbound() ? flow.moved(0, bytes) : flow.moved(bytes, 0);
}

void Leftover::add(const iovec* parts, int count, std::size_t skip) {
    std::size_t more = 0;
    for (int i = 0; i < count; ++i) more += parts[i].iov_len;
    if (more <= skip) return;
    if (!queue_) queue_ = std::make_unique<Queue>();
    auto& [bytes, next] = *queue_;
    // A reader that is slow but never stops would otherwise keep what it has read already.
    if (next > 0 && next >= bytes.size() / 2) {
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(next));
        next = 0;
    }
    for (int i = 0; i < count; ++i) {
        std::size_t length = parts[i].iov_len;
        std::size_t past = std::min(skip, length);
        skip -= past;
        auto* begin = static_cast<const std::byte*>(parts[i].iov_base);
        bytes.insert(bytes.end(), begin + past, begin + length);
    }
}

int Leftover::flush(base::Socket& to, std::size_t& sent) noexcept {
    while (!empty() && to.maybe_writable()) {
        ssize_t n = ::send(to.fd(), queue_->bytes.data() + queue_->next, size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && !would_block(errno)) return errno;
        if (n > 0) {
            queue_->next += static_cast<std::size_t>(n);
            sent += static_cast<std::size_t>(n);
        }
        if (size() > 0)
            to.congested();
        else
            queue_.reset();
    }
    return 0;
}

TunnelPump::TunnelPump(base::Socket& app, hbone::Stream& stream, Meter meter)
    : app_{app}, stream_{stream}, meter_{meter}, done_{app.loop()} {
    app_.observe(this);
    stream_.attach(*this);
    on_socket_ready(app_);
}

TunnelPump::~TunnelPump() {
    app_.observe(nullptr);
    // Cut before its time: not the CANCEL that peers read as an end of stream, or a truncated answer would look whole.
    constexpr std::uint32_t connect_error = 10;  // RFC 9113 section 7
    if (!done_.is_set() || failure_) stream_.reset(connect_error);
}

hbone::Filled TunnelPump::fill(std::span<std::byte> room) {
    if (from_app_ended_) return {0, hbone::Outcome::drained};
    if (!app_.maybe_readable()) return {0, hbone::Outcome::drained};
    ssize_t n = ::recv(app_.fd(), room.data(), room.size(), MSG_DONTWAIT);
    if (n > 0) {
        auto bytes = static_cast<std::size_t>(n);
        meter_.from_app(bytes);
        trickle_.said(bytes, Trickle::Clock::now());
        // A short read means drained; unless a FIN is waiting behind it, which edge-triggered epoll has already told.
        bool drained = bytes < room.size() && !app_.peer_half_closed() && !app_.hung_up();
        if (drained) app_.drained();
        return {bytes, drained ? hbone::Outcome::drained : hbone::Outcome::more};
    }
    if (n < 0 && would_block(errno)) {
        app_.drained();
        return {0, hbone::Outcome::drained};
    }
    if (n < 0 && !is_ordinary_end(errno)) {
        // And no end of stream for the peer.
        guard([this, error = errno] { fail(base::problem("receive: " + base::errno_while({}, error).cause())); });
        return {0, hbone::Outcome::drained};
    }
    from_app_ended_ = true;
    check_done();
    return {0, hbone::Outcome::end};
}

template <class Work>
void TunnelPump::guard(Work&& work) {
    base::shortage::guard("a connection", work, [this] { fail(base::shortage::error()); });
}

void TunnelPump::fail(const base::Error& why) {
    failure_ = base::keep(why);
    from_app_ended_ = to_app_ended_ = true;
    check_done();
}

void TunnelPump::cut(const base::Error& why) {
    if (!done_.is_set()) fail(why);
}

void TunnelPump::on_data(std::span<const std::byte> data) {
    trickle_.heard();
    if (to_app_ended_) {
        stream_.consumed(data.size());  // the app takes no more; the tunnel's window must not suffer for it
        return;
    }
    guard([this] {
        if (!batch_) batch_ = borrow_batch();
        if (batch_->count == BatchParts::most) write_to_app();
    });
    if (to_app_ended_) {
        stream_.consumed(data.size());
        return;
    }
    batch_->parts[batch_->count++] = {const_cast<std::byte*>(data.data()), data.size()};
}

void TunnelPump::on_batch_end() {
    if (batch_) {
        if (batch_->count > 0) guard([this] { write_to_app(); });
        give_back(std::move(batch_));
    }
    finish_app_when_empty();
}

void TunnelPump::write_to_app() {
    auto& [parts, part_count] = *batch_;
    const int count = std::exchange(part_count, 0);
    std::size_t total = 0;
    for (int i = 0; i < count; ++i) total += parts[i].iov_len;
    std::size_t sent = 0;
    if (leftover_.empty()) {
        // Tried even when the last write was short: the app may have read since, and the edge would come too late.
        ssize_t n = send_parts(app_.fd(), parts.data(), count);
        if (n < 0 && !would_block(errno)) {
            int error = errno;
            stream_.consumed(total);
            app_refuses_bytes(error);
            return;
        }
        if (n > 0) sent = static_cast<std::size_t>(n);
        if (sent < total) app_.congested();
    }
    leftover_.add(parts.data(), count, sent);
    app_took(sent);
}

void TunnelPump::app_took(std::size_t bytes) {
    if (bytes == 0) return;
    meter_.to_app(bytes);
    stream_.consumed(bytes);
}

void TunnelPump::app_refuses_bytes(int error) {
    to_app_ended_ = true;
    stream_.consumed(leftover_.size());
    leftover_ = {};
    if (!is_ordinary_end(error))
        return guard([&] { fail(base::problem("send: " + base::errno_while({}, error).cause())); });
    // What the app sent before it went is still read; the error that ends that direction follows by itself.
    stream_.want_to_send();
    check_done();
}

void TunnelPump::on_end() {
    peer_ended_ = true;
    finish_app_when_empty();
}

void TunnelPump::finish_app_when_empty() {
    if (!peer_ended_ || to_app_ended_ || batch_ || !leftover_.empty()) return;
    to_app_ended_ = true;
    if (!from_app_ended_) app_.finish_writing();  // else all is over, and closing it says the same
    check_done();
}

void TunnelPump::on_reset(const base::Error& why) {
    fail(why);
}

void TunnelPump::on_socket_ready(base::Socket& app) {
    if (!leftover_.empty() && app.maybe_writable()) {
        std::size_t sent = 0;
        int error = leftover_.flush(app, sent);
        app_took(sent);
        if (error != 0) app_refuses_bytes(error);
        finish_app_when_empty();
    }
    if (app.maybe_readable() && !from_app_ended_) {
        if (trickle_.gathers() && !app.peer_half_closed() && !app.hung_up())
            guard([this] { send_later(); });
        else
            stream_.want_to_send();
    }
    if (app_speaks_ && app_speaks()) app_speaks_->set();
    // The app reset a connection of which it had already closed its own half: nothing will be read that says so.
    if (app.hung_up() && from_app_ended_ && !to_app_ended_) {
        stream_.consumed(leftover_.size());
        leftover_ = {};
        to_app_ended_ = true;
        check_done();
    }
}

void TunnelPump::send_later() {
    if (!gathered_) gathered_ = std::make_unique<base::Timer>(app_.loop(), [this] { stream_.want_to_send(); });
    if (!gathered_->armed()) gathered_->arm(trickle_.moment());
}

void TunnelPump::check_done() noexcept {
    if (!from_app_ended_ || !to_app_ended_) return;
    done_.set();
    if (app_speaks_) app_speaks_->set();
}

SocketPump::SocketPump(base::Socket& app, base::Socket& peer, Meter meter)
    : meter_{meter},
      done_{app.loop()},
      from_app_{app, peer, &Meter::from_app, {}, false, false},
      to_app_{peer, app, &Meter::to_app, {}, false, false} {
    app.observe(this);
    peer.observe(this);
    move_both();
}

SocketPump::~SocketPump() {
    from_app_.from.observe(nullptr);
    to_app_.from.observe(nullptr);
}

void SocketPump::on_socket_ready(base::Socket&) {
    move_both();
}

void SocketPump::on_round_end() {
    move_both();
}

void SocketPump::move_both() {
    bool more = false;
    base::shortage::guard(
        "a connection",
        [&] {
            more = move(from_app_);
            more = move(to_app_) || more;
        },
        [this] { fail(base::shortage::error()); });
    // One that had finished its half and then reset the rest: nothing will be read that says so.
    for (auto [way, back] : {std::pair{&from_app_, &to_app_}, std::pair{&to_app_, &from_app_}})
        if (way->to.hung_up() && back->source_ended) way->ended = true;
    if (from_app_.ended && to_app_.ended)
        done_.set();
    else if (more)
        from_app_.from.loop().at_round_end(*this);
}

void SocketPump::cut(const base::Error& why) {
    if (done_.is_set()) return;
    fail(why);
    done_.set();
}

void SocketPump::broken(Way& way, const char* doing, int error) {
    way.ended = true;
    if (is_ordinary_end(error)) return;
    fail(base::problem(doing + base::errno_while({}, error).cause()));
}

void SocketPump::fail(const base::Error& why) {
    failure_ = base::keep(why);
    from_app_.ended = to_app_.ended = true;  // neither side gets an end of stream
}

bool SocketPump::move(Way& way) {
    auto& buffer = relay;
    if (buffer.empty()) buffer.resize(relay_size);
    int reads_left = 4;
    while (!way.ended) {
        if (!way.leftover.empty()) {
            std::size_t sent = 0;
            int error = way.leftover.flush(way.to, sent);
            (meter_.*way.count)(sent);
            if (error != 0) {
                broken(way, "send: ", error);
                return false;
            }
            if (!way.leftover.empty()) return false;
        }
        if (way.source_ended) {
            way.to.finish_writing();
            way.ended = true;
            return false;
        }
        if (!way.from.maybe_readable()) return false;
        if (reads_left-- == 0) return true;
        ssize_t n = ::recv(way.from.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n < 0 && would_block(errno)) {
            way.from.drained();
            return false;
        }
        if (n <= 0) {
            if (n < 0 && !is_ordinary_end(errno)) {
                broken(way, "receive: ", errno);
                return false;
            }
            way.source_ended = true;
            continue;
        }
        auto got = static_cast<std::size_t>(n);
        if (got < buffer.size() && !way.from.peer_half_closed() && !way.from.hung_up()) way.from.drained();
        ssize_t sent = ::send(way.to.fd(), buffer.data(), got, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && !would_block(errno)) {
            broken(way, "send: ", errno);
            return false;
        }
        std::size_t took = sent > 0 ? static_cast<std::size_t>(sent) : 0;
        (meter_.*way.count)(took);
        if (took < got) {
            way.to.congested();
            iovec part{buffer.data(), got};
            way.leftover.add(&part, 1, took);
        }
    }
    return false;
}

}
