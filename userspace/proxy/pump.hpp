// SPDX-License-Identifier: Apache-2.0
// Moving bytes once a connection flows: no coroutine, only readiness. Each direction runs alone: an end of stream on
// one side becomes an end of stream on the other, and the opposite direction goes on until its own (half-close).
//
//   app socket  <-- Pump --> hbone::Stream   (tunnelled: TunnelPump)
//   one socket  <-- Pump --> another socket  (plain TCP: SocketPump)
//
// Lives on: the connection's worker. Backpressure: a side is only read when what was read before has been taken.
#pragma once
#include <sys/uio.h>

#include <array>
#include <memory>
#include <vector>

#include <culvert/base/shortage.hpp>
#include <culvert/base/socket.hpp>
#include <culvert/capture/flows.hpp>
#include <culvert/hbone/stream.hpp>
#include <culvert/telemetry/connection_record.hpp>
#include <culvert/telemetry/counters.hpp>

#include "trickle.hpp"

namespace culvert::proxy {

// Before a thread's first pump, while there is memory: the C library ends the process when it has none for what belongs
// to a thread.
void prepare_pumps_of_this_thread();

// Where a pump says what it moved. Borrowed; the flow may be an empty one.
struct Meter {
    telemetry::ConnectionRecord& record;
    capture::Flow& flow;

    void from_app(std::uint64_t bytes) noexcept;
    void to_app(std::uint64_t bytes) noexcept;

private:
    // The app opened the connection; inbound the peer did.
    bool outbound() const noexcept { return record.entry.direction == telemetry::Direction::outbound; }
};

// A socket is closed with RST, unless this is said: whoever reads from it must not take a failure, the end of this
// daemon or its being killed for an end of stream. So it is from its first moment: what was accepted inherits that from
// its listener, what we dial has it before connect().
inline void end_in_order(base::Socket& socket) noexcept {
    socket.close_with_reset(false);
}

// What can end a connection from outside while it flows.
class Cuttable {
public:
    // Neither side takes it for an end of stream. Nothing is destroyed before the caller returns.
    virtual void cut(const base::Error& why) = 0;

protected:
    ~Cuttable() = default;
};

// Bytes read from one side that the other would not take yet; memory for at most twice as many, and none for none.
class Leftover {
public:
    bool empty() const noexcept { return !queue_; }
    std::size_t size() const noexcept { return queue_ ? queue_->bytes.size() - queue_->next : 0; }
    void add(const iovec* parts, int count, std::size_t skip);
    // Writes what the socket takes, adding it to `sent`. Returns 0, or the error of a socket that is broken.
    int flush(base::Socket& to, std::size_t& sent) noexcept;

private:
    struct Queue {
        std::vector<std::byte> bytes;
        std::size_t next = 0;
    };
    std::unique_ptr<Queue> queue_;  // null: empty
};

// The bytes of one batch, in the session's plaintext. A worker lends it from a batch's first bytes to its end.
struct BatchParts {
    static constexpr int most = 64;
    std::array<iovec, most> parts;
    int count = 0;
};

class TunnelPump : public Cuttable, hbone::StreamUser, base::Socket::Observer {
public:
    // Borrows all three; the caller keeps them until done() and destroys the pump first.
    TunnelPump(base::Socket& app, hbone::Stream& stream, Meter meter);
    ~TunnelPump();
    TunnelPump(const TunnelPump&) = delete;
    TunnelPump& operator=(const TunnelPump&) = delete;

    // Set when both directions have ended, or one failed.
    base::Event& done() noexcept { return done_; }
    // Why it failed; null when both directions ended cleanly.
    const base::Error* failure() const noexcept { return failure_.get(); }
    // The app has something to say, or will never have.
    bool app_speaks() const noexcept { return done_.is_set() || from_app_ended_ || app_.maybe_readable(); }
    void cut(const base::Error& why) override;
    // Borrowed, and set when that comes true; null: no more.
    void tell_when_app_speaks(base::Event* event) noexcept { app_speaks_ = event; }

private:
    hbone::Filled fill(std::span<std::byte> room) override;
    void on_data(std::span<const std::byte> data) override;
    void on_batch_end() override;
    void on_end() override;
    void on_reset(const base::Error& why) override;
    void on_socket_ready(base::Socket& socket) override;

    void send_later();
    void write_to_app();
    void app_took(std::size_t bytes);
    void app_refuses_bytes(int error);
    void finish_app_when_empty();
    template <class Work>
    void guard(Work&& work);  // without memory for it the connection fails
    void fail(const base::Error& why);
    void check_done() noexcept;

    base::Socket& app_;
    hbone::Stream& stream_;
    Meter meter_;
    base::Event done_;
    base::Event* app_speaks_ = nullptr;
    base::KeptError failure_;
    std::unique_ptr<BatchParts> batch_;  // in the middle of a batch
    Leftover leftover_;
    std::unique_ptr<base::Timer> gathered_;  // made for those who need it
    [[no_unique_address]] Trickle trickle_;  // which has room left for what follows
    bool from_app_ended_ = false;
    bool to_app_ended_ = false;  // no byte will be written to the app any more
    bool peer_ended_ = false;    // END_STREAM came; the rest of leftover_ still goes out
};

class SocketPump : public Cuttable, base::Socket::Observer, base::RoundEnd {
public:
    // Borrows both, app first.
    SocketPump(base::Socket& app, base::Socket& peer, Meter meter);
    ~SocketPump();
    SocketPump(const SocketPump&) = delete;
    SocketPump& operator=(const SocketPump&) = delete;

    base::Event& done() noexcept { return done_; }
    const base::Error* failure() const noexcept { return failure_.get(); }
    void cut(const base::Error& why) override;

private:
    struct Way {
        base::Socket& from;
        base::Socket& to;
        void (Meter::*count)(std::uint64_t) noexcept;
        Leftover leftover;
        bool source_ended = false;
        bool ended = false;
    };
    void on_socket_ready(base::Socket& socket) override;
    void on_round_end() override;
    // True when it stopped at its share of the round with more to do.
    bool move(Way& way);
    // The destination takes no more: in order, or failed.
    void broken(Way& way, const char* doing, int error);
    void fail(const base::Error& why);
    void move_both();

    Meter meter_;
    base::Event done_;
    base::KeptError failure_;
    Way from_app_;
    Way to_app_;
};

}
