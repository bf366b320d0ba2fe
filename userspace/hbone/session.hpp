// SPDX-License-Identifier: Apache-2.0
// One HTTP/2 connection in TLS, either role. Its .cpp files are the only ones that see nghttp2.
//
//   on_socket_ready: read, open, frames, on_data... batch ends      (in the round's turn)
//   on_round_end:    control frames, fill and DATA, seal, one send  (once a round)
//
// nghttp2 speaks for the connection: streams, headers, settings, pings, errors. The bytes and their flow control are
// ours (session_input.cpp, session_output.cpp).
//
// Lives on: one worker. Owned by the pool or the server until on_closed(); every Stream keeps the memory, not the
// connection. Whatever goes wrong inside a call ends at the end of the outermost one (Batch).
#pragma once
#include <optional>
#include <span>

#include <culvert/hbone/settings.hpp>

#include "frame_budget.hpp"
#include "frame_reader.hpp"
#include "stream_impl.hpp"
#include "transport.hpp"

struct nghttp2_session;

namespace culvert::hbone {

enum class Role { client, server };

class Session final : public std::enable_shared_from_this<Session>,
                      private base::Socket::Observer,
                      private base::RoundEnd,
                      private FrameReader::User {
public:
    class Owner {
    public:
        virtual void on_open() = 0;  // TLS is up: streams may be asked for
        virtual void on_request(Incoming incoming) = 0;
        virtual void on_closed(const base::Error* why) = 0;  // null: in good order. The last call

    protected:
        ~Owner() = default;
    };

    // What all sessions share; once, before there are any.
    static void prepare();
    // An owner that goes before on_closed() aborts the session and disowns it.
    static std::shared_ptr<Session> start(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel,
                                          const Settings& settings, Owner& owner);
    Session(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel, const Settings& settings,
            Owner& owner);
    ~Session();

    // Client: a CONNECT now has a good chance. `likely` is how many streams to count on before the peer has said it.
    bool takes_streams(std::uint32_t likely) const noexcept;
    // Client: how many streams the peer allows, once it has said so.
    std::optional<std::uint32_t> peer_allows() const noexcept;
    // Stalled streams hold most of the connection's window, either way: a new stream would be slow on it.
    bool crowded() const noexcept;
    // Client: how often the peer has been heard. Who waits and finds it unchanged for a while says so; the first to do
    // so makes the peer be asked for a sign of life, and who finds that without an answer makes the tunnel doubtful.
    // That ends with the next byte.
    std::uint64_t heard() const noexcept { return heard_; }
    void find_silent();
    bool doubtful() const noexcept { return doubtful_; }
    // Its certificate has been taken back since it was verified: the owner asks before each new stream, and aborts.
    bool peer_is_revoked() noexcept;
    // When the peer's certificate ends; once TLS is up.
    tls::SystemTime peer_good_until() noexcept;
    // Client: the peer said in its SETTINGS that it takes bytes before it has answered.
    bool peer_takes_first_bytes() const noexcept { return peer_takes_first_bytes_; }
    // Client: sends the CONNECT at the end of this round, and these bytes with it, or when the 200 has come.
    base::Result<StreamPtr> request(const Request& request, std::span<const std::byte> first);
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
    std::span<const std::byte> produce();
    void put_window_updates() noexcept;
    bool put_control();
    bool put_data();
    bool put_data_of(Stream::Impl& stream, std::size_t room);

    // FrameReader::User
    void on_data_frame(const DataFrame& frame) override;
    void on_payload(const DataFrame& frame, std::span<const std::byte> bytes) override;
    void on_padding(const DataFrame& frame, std::size_t bytes) override;
    void on_data_frame_end(const DataFrame& frame) override;
    void on_window_update(std::int32_t stream, std::uint32_t increment) override;
    void on_broken_frame() override;
    void on_endless_headers() override;
    bool on_control(std::uint8_t type, std::int32_t stream) override;
    bool spend();
    bool on_other(std::span<const std::byte> bytes) override;
    Stream::Impl* stream_of(std::int32_t id) const noexcept;
    Stream::Impl* receiver_of(const DataFrame& frame) const noexcept;
    bool comes_before_its_answer(const DataFrame& frame) const noexcept;
    void show(const DataFrame& frame);
    void open_window(Stream::Impl& stream, std::uint32_t increment);
    void end_with(std::uint32_t code);
    void peer_settings_changed();

    std::size_t header_limit() const noexcept {
        return role_ == Role::client ? settings_.client_header_list : settings_.server_header_list;
    }

    void fail(const base::Error& why) noexcept;
    void run_out() noexcept;             // of memory
    void check(int submitted) noexcept;  // nghttp2's answer: short of memory it drops what must be said
    template <class Work>
    void guard(Work&& work);
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
    void give_back(Stream::Impl& stream, std::size_t bytes);
    void give_back(std::size_t bytes);  // of the connection's window alone
    void announce(std::int32_t stream, std::uint32_t bytes);
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
    bool greeted_ = false;     // the preface and our SETTINGS are on their way
    bool ping_waits_ = false;
    bool ping_timed_out_ = false;
    bool doubtful_ = false;  // somebody waits, and nothing has come for a while, nor an answer to our PING
    bool peer_takes_first_bytes_ = false;
    bool heard_settings_ = false;
    std::uint64_t stopped_in_ = 0;
    std::uint64_t heard_ = 0;
    FrameReader reader_;
    FrameBudget budget_;
    InWindow in_;
    OutWindow out_{first_window};
    std::uint32_t peer_stream_window_ = first_window;
    std::uint32_t peer_frame_ = 16 * 1024;
    std::vector<std::byte> window_updates_;  // frames, to be sent in this round
    std::size_t produced_ = 0;               // bytes in the lent plaintext_out, during produce()
    std::size_t streams_ = 0;                // that nghttp2 knows
    std::size_t objects_ = 0;                // Stream::Impl alive, those that only their user still holds too
    std::optional<base::Error> failure_;     // ends the connection at the end of the call
    std::optional<base::Error> verdict_;     // what on_closed() will say, while the goodbye is on its way
    std::string peer_goaway_;                // what its GOAWAY said, if it was an error
    StreamList<&Stream::Impl::in_session> open_;
    StreamList<&Stream::Impl::in_touched> touched_;
    StreamList<&Stream::Impl::in_ready> ready_;
    base::Timer limit_;  // handshake and SETTINGS; later the peer's FIN
    base::Timer ping_;
    base::Timer idle_;
};

}
