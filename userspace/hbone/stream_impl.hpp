// SPDX-License-Identifier: Apache-2.0
// One stream between its session's callbacks and its user.
//
// In the middle of a batch only on_data() is called; ends, resets and requests wait for the end of it (deliver()), so
// that a user who destroys its stream never does so under nghttp2's feet.
#pragma once
#include <vector>

#include <culvert/base/shortage.hpp>
#include <culvert/hbone/server.hpp>
#include <culvert/hbone/stream.hpp>

#include "windows.hpp"

namespace culvert::hbone {

class Session;
using StreamHook = base::intrusive::list_member_hook<base::intrusive::link_mode<base::intrusive::auto_unlink>>;

using StreamPtr = boost::intrusive_ptr<Stream::Impl>;

class Incoming::Impl {
public:
    StreamPtr stream;
    Request request;
    std::string method;
    bool answered = false;
};

// One per connection, idle or not: small things side by side, no room for what only its beginning needs.
class Stream::Impl final {
public:
    explicit Impl(std::shared_ptr<Session> session) noexcept;
    ~Impl();
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    // The session's side.
    void open(std::int32_t id);  // nghttp2 knows it from now on
    void receive(std::span<const std::byte> data);
    void receive_end();                      // END_STREAM
    void receive_reset(std::uint32_t code);  // RST_STREAM
    void closed(std::uint32_t code);         // nghttp2 has forgotten it
    void lost(const base::Error& why);       // with its session
    void deliver();                          // the batch has ended
    Filled fill(std::span<std::byte> room);
    bool has_bytes() const noexcept;  // that may be sent once its HEADERS have left
    void fill_nowhere();              // the peer takes nothing more: find out whether the user had more
    void settle_alone();              // the same for one that outlives its session: no round of it comes any more

    // The user's side.
    void attach(StreamUser& user);
    void want_to_send();
    void consumed(std::size_t bytes);
    void abandon(std::uint32_t code);
    bool has_user() const noexcept { return user_ != nullptr; }
    bool has_early_bytes() const noexcept { return early_ != nullptr; }

    const std::shared_ptr<Session> session;
    std::int32_t id = 0;
    std::uint16_t status = 0;  // client: of the answer
    bool wants_to_send : 1 = false;
    bool may_send : 1 = false;     // its HEADERS have left
    bool may_receive : 1 = false;  // the peer's have come
    bool sent_end : 1 = false;
    bool got_end : 1 = false;
    bool deaf : 1 = false;         // the peer reset it in a friendly way: it sends and takes nothing more
    bool over : 1 = false;         // nghttp2 does not know it (any more)
    bool refused : 1 = false;      // server: the answer was an error, RST_STREAM follows the HEADERS
    bool unprocessed : 1 = false;  // client: REFUSED_STREAM before any answer, so another tunnel may be tried

private:
    bool known_ = false;  // to nghttp2, which counts as a reference
    bool abandoned_ = false;
    bool in_batch_ = false;  // on_data was called, on_batch_end not yet
    bool told_end_ = false;

public:
    std::uint32_t header_bytes = 0;
    OutWindow out;
    InWindow in;

    base::Event* answered = nullptr;                // client: who waits for the answer
    std::unique_ptr<std::vector<std::byte>> first;  // client: to be sent before anything of the user's
    std::unique_ptr<Incoming::Impl> asked;          // server: until the request is complete
    base::KeptError failure;

    StreamHook in_session, in_touched, in_ready;

private:
    Filled fill_first(std::span<std::byte> room);
    void fail(const base::Error& why);
    void touch();
    void release_window();
    void forget();

    friend void intrusive_ptr_add_ref(Impl* stream) noexcept;
    friend void intrusive_ptr_release(Impl* stream) noexcept;
    std::uint32_t references_ = 0;
    std::uint32_t unconsumed_ = 0;  // bytes that the user has, or will have
    StreamUser* user_ = nullptr;
    std::unique_ptr<std::vector<std::byte>> early_;  // what came before the user; the stream's window bounds it
};

template <StreamHook Stream::Impl::*Hook>
using StreamList = base::intrusive::list<Stream::Impl, base::intrusive::member_hook<Stream::Impl, StreamHook, Hook>,
                                         base::intrusive::constant_time_size<false>>;

}
