// SPDX-License-Identifier: Apache-2.0
// One HTTP/2 connection in TLS, either role. Its .cpp files are the only ones that see nghttp2.
//
//   on_socket_ready: read, open, nghttp2, on_data... batch ends     (in the round's turn)
//   on_round_end:    fill, DATA and control frames, seal, one send  (once a round)
//
// Lives on: one worker. Owned by the pool or the server until on_closed(); every Stream keeps the memory, not the
// connection. Whatever goes wrong inside a call ends at the end of the outermost one (Batch).
#pragma once
#include <optional>

#include <culvert/hbone/settings.hpp>

#include "stream_impl.hpp"
#include "transport.hpp"

struct nghttp2_session;

namespace culvert::hbone {

enum class Role { client, server };

class Session final : public std::enable_shared_from_this<Session>,
                      private base::Socket::Observer,
                      private base::RoundEnd {
public:
    class Owner {
    public:
        virtual void on_open() = 0;  // TLS is up: streams may be asked for
        virtual void on_request(Incoming incoming) = 0;
        virtual void on_closed(const base::Error* why) = 0;  // null: in good order. The last call

    protected:
        ~Owner() = default;
    };

    // An owner that goes before on_closed() aborts the session and disowns it.
    static std::shared_ptr<Session> start(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel,
                                          const Settings& settings, Owner& owner);
    Session(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel, const Settings& settings,
            Owner& owner);
    ~Session();

    // Client: a CONNECT now has a good chance.
    bool takes_streams() const noexcept;
    // Stalled streams hold most of the connection's window, either way: a new stream would be slow on it.
    bool crowded() const noexcept;
    // Client: sends the CONNECT at the end of this round.
    base::Result<std::shared_ptr<Stream::Impl>> request(const Request& request);
    // Server: the answer. Without a stream that still lives nothing is sent.
    void respond(Stream::Impl& stream, int status, const std::string& baggage);

    // No new streams; ends in good order after the last one.
    void drain();
    // Ends now: streams fail with this error, the peer hears GOAWAY and close_notify if it listens.
    void abort(const base::Error& why);
    void disown() noexcept { owner_ = nullptr; }

    bool going_away() const noexcept { return going_away_ || draining_ || state_ != State::open; }
    bool closed() const noexcept { return state_ == State::closed; }
    bool ping_timed_out() const noexcept { return ping_timed_out_; }
    const TunnelInfo& info() const noexcept { return info_; }

private:
    friend class Stream::Impl;
    struct Callbacks;  // what nghttp2 calls
    struct Batch;
    enum class State { handshaking, open, closing, closed };
    struct FreeNghttp2 {
        void operator()(nghttp2_session* session) const noexcept;
    };

    void on_socket_ready(base::Socket& socket) override;
    void on_round_end() override;
    void mark() noexcept { loop_.at_round_end(*this); }

    void read_round();
    void take();
    void begin_http2();
    void feed(std::span<const std::byte> plaintext);
    void deliver();
    void peer_left();
    bool output_stuck() const noexcept;

    void flush();
    void resume_ready_streams();
    std::span<const std::byte> produce();
    std::span<std::byte> room_for_data(std::size_t wanted) noexcept;

    std::size_t header_limit() const noexcept {
        return role_ == Role::client ? settings_.client_header_list : settings_.server_header_list;
    }

    void fail(const base::Error& why);
    void settle();
    void say_goodbye();
    void lose_streams(const base::Error& why);
    void close_now(const base::Error* why);
    void stream_ended();
    void ping();
    void pong(std::span<const std::uint8_t> payload);
    void limit_reached();
    void stop_waiting_for_settings();

    // For Stream::Impl.
    void stream_opened(Stream::Impl& stream);
    void ready(Stream::Impl& stream);
    void touched(Stream::Impl& stream);
    void give_back(std::int32_t id, std::size_t bytes);
    void reset(Stream::Impl& stream, std::uint32_t code);

    base::Loop& loop_;
    const Settings settings_;
    const Role role_;
    Owner* owner_;
    TunnelInfo info_;
    std::optional<Transport> transport_;  // gone when closed
    std::unique_ptr<nghttp2_session, FreeNghttp2> http2_;
    State state_ = State::handshaking;
    int depth_ = 0;
    bool draining_ = false;
    bool going_away_ = false;  // the peer said GOAWAY
    bool said_goaway_ = false;
    bool left_ = false;        // the peer has closed, and nobody minds
    bool read_later_ = false;  // stopped before the socket was empty
    bool more_ = false;        // the round's output was full
    bool ping_waits_ = false;
    bool ping_timed_out_ = false;
    std::uint64_t stopped_in_ = 0;
    std::size_t produced_ = 0;            // bytes in the lent plaintext_out, during produce()
    std::size_t streams_ = 0;             // that nghttp2 knows
    std::size_t objects_ = 0;             // Stream::Impl alive, those that only their user still holds too
    std::optional<base::Error> failure_;  // ends the connection at the end of the call
    std::optional<base::Error> verdict_;  // what on_closed() will say, while the goodbye is on its way
    std::string peer_goaway_;             // what its GOAWAY said, if it was an error
    StreamList<&Stream::Impl::in_session> open_;
    StreamList<&Stream::Impl::in_touched> touched_;
    StreamList<&Stream::Impl::in_ready> ready_;
    base::Timer limit_;  // handshake and SETTINGS; later the peer's FIN
    base::Timer ping_;
    base::Timer idle_;
};

}
