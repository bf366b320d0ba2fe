// SPDX-License-Identifier: Apache-2.0
// One stream between its session's callbacks and its user.
//
// In the middle of a batch only on_data() is called; ends, resets and requests wait for the end of it (deliver()), so
// that a user who destroys its stream never does so under nghttp2's feet.
#pragma once
#include <vector>

#include <culvert/hbone/server.hpp>
#include <culvert/hbone/stream.hpp>

#include "windows.hpp"

namespace culvert::hbone {

class Session;
using StreamHook = base::intrusive::list_member_hook<base::intrusive::link_mode<base::intrusive::auto_unlink>>;

class Incoming::Impl {
public:
    std::shared_ptr<Stream::Impl> stream;
    Request request;
    std::string method;
    bool answered = false;
};

class Stream::Impl final : public std::enable_shared_from_this<Stream::Impl> {
public:
    explicit Impl(std::shared_ptr<Session> session) noexcept;
    ~Impl();

    // The session's side.
    void open(std::int32_t id);  // nghttp2 knows it from now on
    void receive(std::span<const std::byte> data);
    void receive_end();                      // END_STREAM
    void receive_reset(std::uint32_t code);  // RST_STREAM
    void closed(std::uint32_t code);         // nghttp2 has forgotten it
    void lost(const base::Error& why);       // with its session
    void deliver();                          // the batch has ended
    Filled fill(std::span<std::byte> room);
    void fill_nowhere();  // the peer takes nothing more: find out whether the user had more
    void settle_alone();  // the same for one that outlives its session: no round of it comes any more

    // The user's side.
    void attach(StreamUser& user);
    void want_to_send();
    void consumed(std::size_t bytes);
    void abandon(std::uint32_t code);
    bool has_user() const noexcept { return user_ != nullptr; }

    const std::shared_ptr<Session> session;
    std::int32_t id = 0;
    bool wants_to_send = false;
    bool may_send = false;     // its HEADERS have left
    bool may_receive = false;  // the peer's have come
    bool sent_end = false;
    bool got_end = false;
    bool deaf = false;     // the peer reset it in a friendly way: it sends and takes nothing more
    bool over = false;     // nghttp2 does not know it (any more)
    bool refused = false;  // server: the answer was an error, RST_STREAM follows the HEADERS

    // Client, until the answer: who waits for it, and how it came.
    base::Event* answered = nullptr;
    int status = 0;
    bool unprocessed = false;  // REFUSED_STREAM before any answer: another tunnel may be tried

    // Server, until the request is complete.
    std::unique_ptr<Incoming::Impl> asked;
    std::size_t header_bytes = 0;

    std::unique_ptr<base::Error> failure;

    InWindow in;
    OutWindow out;

    StreamHook in_session, in_touched, in_ready;

private:
    void fail(const base::Error& why);
    void touch();
    void release_window();

    std::shared_ptr<Impl> self_;  // while nghttp2 knows it
    StreamUser* user_ = nullptr;
    bool abandoned_ = false;
    bool in_batch_ = false;  // on_data was called, on_batch_end not yet
    bool told_end_ = false;
    std::size_t unconsumed_ = 0;
    std::vector<std::byte> early_;  // what came before the user; the stream's window bounds it
};

template <StreamHook Stream::Impl::*Hook>
using StreamList = base::intrusive::list<Stream::Impl, base::intrusive::member_hook<Stream::Impl, StreamHook, Hook>,
                                         base::intrusive::constant_time_size<false>>;

}
