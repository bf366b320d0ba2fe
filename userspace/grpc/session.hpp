// SPDX-License-Identifier: Apache-2.0
// Our use of HTTP/2 for calls. Pure: bytes in, bytes out. The only file of this folder that knows nghttp2's session.
//
// Nothing is told to a call's owner from inside: that is deliver()'s, so owners may do whatever they like.
#pragma once
#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

#include "call.hpp"
#include "request.hpp"

namespace culvert::grpc {

class Session {
public:
    explicit Session(std::int32_t window_bytes);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void start(std::shared_ptr<Call> call, const std::vector<Header>& head);
    void resume(Call& call);  // it has more to send
    void end(Call& call, Status status);
    void ping();
    void say_goodbye();

    base::Result<> receive(std::span<const std::uint8_t> bytes);
    // The next bytes that leave, valid until the next call of a function; empty when there are none.
    base::Result<std::string_view> output();

    // Nothing more will be said, by either side.
    bool over() const noexcept;

    // Tells owners what came for them.
    void deliver();
    void end_all(const Status& status);

    // Neither sent nor heard GOAWAY.
    bool takes_calls() const noexcept { return !going_; }
    std::string farewell() const { return farewell_; }  // of the server's GOAWAY, for people; empty without

private:
    struct Callbacks;
    void ended(Call& call, bool server_said_all);  // no more is wanted of its stream

    std::map<std::int32_t, std::shared_ptr<Call>> calls_;
    bool going_ = false;
    std::string farewell_;
    base::Handle<nghttp2_session, nghttp2_session_del> http2_;  // first to go
};

}
