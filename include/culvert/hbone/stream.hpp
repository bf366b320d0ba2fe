// SPDX-License-Identifier: Apache-2.0
// One HBONE stream (HTTP/2 CONNECT inside mutual TLS) as the data path sees it, in either role.
//
// Lives on: its session's loop. Nothing here suspends: the session calls the user as bytes come and as room opens.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <culvert/base/result.hpp>

namespace culvert::hbone {

// What travels with a CONNECT, besides its authority. Names and values are ztunnel's.
struct Request {
    std::string authority;    // "10.0.0.7:8080", "[fd00::7]:8080", "host.ns.svc:80"
    std::string baggage;      // empty: not sent
    std::string forwarded;    // for="<ip:port>"[;host=<service>]
    std::string traceparent;  // 00-<32 hex>-<16 hex>-00
    std::string network;      // x-forwarded-network: the client's, read alone
};

enum class Outcome { more, drained, end };
struct Filled {
    std::size_t bytes = 0;
    Outcome outcome = Outcome::drained;  // drained: nothing now, call again only after want_to_send()
};

// The data path's side of a stream. Must outlive the Stream or detach it by destroying it first; it may do so in any of
// these calls. In one batch: on_data any number of times, on_batch_end, then on_end, then on_reset.
class StreamUser {
public:
    // The session is framing DATA: put at most room.size() bytes at its start. Called at the end of a round,
    // possibly several times. `end` may come together with bytes.
    virtual Filled fill(std::span<std::byte> room) = 0;
    // Bytes from the peer; borrowed until on_batch_end(), which follows in the same call stack.
    // They count against the stream's window until consumed().
    virtual void on_data(std::span<const std::byte> data) = 0;
    virtual void on_batch_end() = 0;
    // The peer has finished its direction (END_STREAM, or RST_STREAM of NO_ERROR or CANCEL, which ztunnel reads as
    // EOF). After such a reset the peer takes nothing more either: a user that has nothing more to send finds its own
    // end taken by fill(); one that still has bytes gets on_reset("io error: broken pipe") then.
    virtual void on_end() = 0;
    // The stream is over in both directions, not in order; no call follows. The error's text is what the access log
    // shows.
    virtual void on_reset(const base::Error& why) = 0;

protected:
    ~StreamUser() = default;
};

// Owns one stream of a session and keeps the session alive. Destroyed before both directions have ended:
// RST_STREAM(CANCEL).
class Stream {
public:
    class Impl;  // the session's
    friend void intrusive_ptr_add_ref(Impl* stream) noexcept;
    friend void intrusive_ptr_release(Impl* stream) noexcept;
    Stream() = default;
    explicit Stream(boost::intrusive_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
    Stream(Stream&&) noexcept = default;
    Stream& operator=(Stream&& other) noexcept;
    ~Stream();
    explicit operator bool() const noexcept { return impl_ != nullptr; }

    // From here on the user is called. What came before (a server that speaks first) is delivered before this returns:
    // be ready.
    void attach(StreamUser& user);
    // The user has bytes or its end to send: fill() will be called in this round if flow control allows, else when it
    // does.
    void want_to_send();
    // So many bytes of on_data() have left for the app: the peer may send as many more.
    void consumed(std::size_t bytes);
    // Ends both directions now, with this HTTP/2 error code (RFC 9113 §7); the user is not called any more.
    void reset(std::uint32_t error_code);

private:
    boost::intrusive_ptr<Impl> impl_;
};

}
