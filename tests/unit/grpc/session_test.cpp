// SPDX-License-Identifier: Apache-2.0
// Our half of HTTP/2, with a server's half of nghttp2 in front of it that says whatever a test wants.
#include "grpc/session.hpp"

#include <doctest/doctest.h>

#include <cstring>

using namespace culvert::grpc;

namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

class Server {
public:
    Server() {
        nghttp2_session_callbacks* callbacks = nullptr;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, heard_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, heard_data);
        nghttp2_session_server_new(&http2_, callbacks, this);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_submit_settings(http2_, NGHTTP2_FLAG_NONE, nullptr, 0);
    }
    ~Server() { nghttp2_session_del(http2_); }

    void head(std::int32_t stream, const Headers& headers, bool last = false) {
        auto pairs = pairs_of(headers);
        const auto flags = last ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
        nghttp2_submit_headers(http2_, static_cast<std::uint8_t>(flags), stream, nullptr, pairs.data(), pairs.size(),
                               nullptr);
    }
    void data(std::int32_t stream, std::string bytes, bool last = false) {
        outgoing_ = std::move(bytes);
        nghttp2_data_provider provider{{.ptr = this}, send};
        nghttp2_submit_data(http2_, last ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, stream, &provider);
    }
    void reset(std::int32_t stream, std::uint32_t code) {
        nghttp2_submit_rst_stream(http2_, NGHTTP2_FLAG_NONE, stream, code);
    }
    void goaway(std::int32_t last_stream, const std::string& words) {
        nghttp2_submit_goaway(http2_, NGHTTP2_FLAG_NONE, last_stream, NGHTTP2_NO_ERROR,
                              reinterpret_cast<const std::uint8_t*>(words.data()), words.size());
    }

    // Until neither has more to say.
    void talk(Session& session) {
        for (bool more = true; more;) {
            more = false;
            for (auto bytes = session.output(); bytes && !bytes->empty(); bytes = session.output()) {
                nghttp2_session_mem_recv(http2_, reinterpret_cast<const std::uint8_t*>(bytes->data()), bytes->size());
                more = true;
            }
            const std::uint8_t* bytes = nullptr;
            ssize_t n = 0;
            while ((n = nghttp2_session_mem_send(http2_, &bytes)) > 0) {
                const std::vector<std::uint8_t> copy{bytes, bytes + n};
                REQUIRE(session.receive(copy).has_value());
                more = true;
            }
        }
        session.deliver();
    }

    std::string data_heard;
    bool half_closed = false;
    std::vector<std::uint32_t> resets;

private:
    static std::vector<nghttp2_nv> pairs_of(const Headers& headers) {
        std::vector<nghttp2_nv> pairs;
        for (const auto& [name, value] : headers)
            pairs.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                             reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
                             value.size(), NGHTTP2_NV_FLAG_NONE});
        return pairs;
    }
    static ssize_t send(nghttp2_session*, std::int32_t, std::uint8_t* into, std::size_t most, std::uint32_t* flags,
                        nghttp2_data_source* source, void*) {
        auto& server = *static_cast<Server*>(source->ptr);
        const std::size_t n = std::min(most, server.outgoing_.size());
        std::memcpy(into, server.outgoing_.data(), n);
        server.outgoing_.erase(0, n);
        if (server.outgoing_.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(n);
    }
    static int heard_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
        auto& server = *static_cast<Server*>(self);
        if (frame->hd.type == NGHTTP2_RST_STREAM) server.resets.push_back(frame->rst_stream.error_code);
        if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) server.half_closed = true;
        return 0;
    }
    static int heard_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* bytes, std::size_t size,
                          void* self) {
        static_cast<Server*>(self)->data_heard.append(reinterpret_cast<const char*>(bytes), size);
        return 0;
    }

    nghttp2_session* http2_ = nullptr;
    std::string outgoing_;
};

struct Scene {
    explicit Scene(std::int32_t window = 64 * 1024) : session{window} { call = start(); }

    std::shared_ptr<Call> start() {
        auto made = std::make_shared<Call>(
            "/a.B/C", std::nullopt, std::size_t{1} << 20,
            Call::Events{nullptr, [this](std::string message) { messages.push_back(std::move(message)); },
                         [this](const Status& status) { ends.push_back(status); }});
        session.start(made, {{":method", "POST"}, {":scheme", "https"}, {":path", "/a.B/C"}, {":authority", "a:1"}});
        return made;
    }
    void answer(const Headers& trailers) {
        server.talk(session);
        server.head(1, {{":status", "200"}, {"content-type", "application/grpc+proto"}});
        server.data(1, framed("answer"));
        server.talk(session);
        server.head(1, trailers, true);
        server.talk(session);
    }
    Status end() {
        REQUIRE(ends.size() == 1);
        return ends[0];
    }

    Session session;
    Server server;
    std::shared_ptr<Call> call;
    std::vector<std::string> messages;
    std::vector<Status> ends;
};

}

TEST_SUITE("grpc") {

TEST_CASE("session: what is sent arrives framed, and the half close behind it") {
    Scene scene;
    scene.call->send("one");
    scene.server.talk(scene.session);
    CHECK(scene.server.data_heard == framed("one"));
    scene.call->send(std::string(100'000, 'x'));
    scene.call->half_close();
    scene.session.resume(*scene.call);
    CHECK(!scene.server.half_closed);
    scene.server.talk(scene.session);
    CHECK(scene.server.data_heard == framed("one") + framed(std::string(100'000, 'x')));
    CHECK(scene.server.half_closed);
}

TEST_CASE("session: an answer, its message and its status") {
    Scene scene;
    scene.call->half_close();
    scene.answer({{"grpc-status", "0"}});
    CHECK(scene.messages == std::vector<std::string>{"answer"});
    CHECK(scene.end().ok());
    CHECK(scene.end().answered);
    CHECK(scene.server.resets.empty());  // both had said all
}

TEST_CASE("session: a status ends the call also where we had not said all; the stream is reset then") {
    Scene scene;
    scene.answer({{"grpc-status", "7"}, {"grpc-message", "not%20you"}});
    CHECK(scene.end().to_string() == "PermissionDenied: not you");
    CHECK(scene.end().origin == Origin::server);
    CHECK(scene.server.resets == std::vector<std::uint32_t>{NGHTTP2_CANCEL});
}

TEST_CASE("session: trailers alone are an answer that was never begun") {
    Scene scene;
    scene.server.talk(scene.session);
    scene.server.head(
        1, {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "16"}, {"grpc-message", "no"}},
        true);
    scene.server.talk(scene.session);
    CHECK(scene.end().code == Code::unauthenticated);
    CHECK(!scene.end().answered);
}

TEST_CASE("session: an answer that is no gRPC is said to be none") {
    struct Row {
        const char* status;
        const char* type;
        Code code;
    };
    for (const Row& row : {Row{"404", "text/html", Code::unimplemented}, Row{"503", "text/plain", Code::unavailable},
                           Row{"200", "text/html", Code::unknown}}) {
        CAPTURE(row.status);
        Scene scene;
        scene.server.talk(scene.session);
        scene.server.head(1, {{":status", row.status}, {"content-type", row.type}});
        scene.server.data(1, "<html>", true);
        scene.server.talk(scene.session);
        CHECK(scene.end().code == row.code);
        CHECK(scene.end().message.find("which is no gRPC") != std::string::npos);
        CHECK(scene.messages.empty());
    }
}

TEST_CASE("session: an early answer is not the answer") {
    Scene scene;
    scene.server.talk(scene.session);
    scene.server.head(1, {{":status", "103"}});
    scene.server.talk(scene.session);
    CHECK(scene.ends.empty());
    scene.answer({{"grpc-status", "0"}});
    CHECK(scene.end().ok());
}

TEST_CASE("session: ends without a status, and within a message, are no good ends") {
    Scene scene;
    scene.answer({{"other", "1"}});
    CHECK(scene.end().to_string() == "Unknown: the answer ended without a grpc-status");

    Scene cut;
    cut.server.talk(cut.session);
    cut.server.head(1, {{":status", "200"}, {"content-type", "application/grpc"}});
    cut.server.data(1, framed("answer").substr(0, 8));
    cut.server.talk(cut.session);
    cut.server.head(1, {{"grpc-status", "0"}}, true);
    cut.server.talk(cut.session);
    CHECK(cut.end().to_string() == "Internal: the answer ended in the middle of a message");
}

TEST_CASE("session: a reset has the code that HTTP/2 gave it") {
    Scene scene;
    scene.server.talk(scene.session);
    scene.server.reset(1, NGHTTP2_ENHANCE_YOUR_CALM);
    scene.server.talk(scene.session);
    CHECK(scene.end().to_string() == "ResourceExhausted: the server reset the stream: ENHANCE_YOUR_CALM");
}

TEST_CASE("session: a call that the server's goodbye leaves out may be sent again; one that it serves goes on") {
    Scene scene;
    scene.server.talk(scene.session);
    auto second = scene.start();
    scene.server.goaway(1, "max_age");
    scene.server.talk(scene.session);
    CHECK(!scene.session.takes_calls());
    CHECK(scene.session.farewell() == "NO_ERROR (max_age)");
    CHECK(second->unprocessed);
    REQUIRE(scene.ends.size() == 1);
    CHECK(scene.ends[0].code == Code::unavailable);
    CHECK(!scene.call->ended());

    scene.ends.clear();
    scene.answer({{"grpc-status", "14"}, {"grpc-message", "closing"}});
    CHECK(scene.end().message == "closing; received prior goaway: NO_ERROR (max_age)");
    CHECK(!scene.call->unprocessed);
}

TEST_CASE("session: requests that never left may be sent again, the others may not") {
    Scene scene;
    scene.server.talk(scene.session);
    auto second = scene.start();
    scene.session.end_all({Code::unavailable, "gone", Origin::connection});
    CHECK(!scene.call->unprocessed);
    CHECK(second->unprocessed);
    CHECK(scene.ends.size() == 2);
}

TEST_CASE("session: a call that we end is reset, and its owner told once") {
    Scene scene;
    scene.server.talk(scene.session);
    scene.session.end(*scene.call, {Code::deadline_exceeded, "late", Origin::us});
    scene.session.end(*scene.call, {Code::cancelled, "again", Origin::us});
    scene.server.talk(scene.session);
    CHECK(scene.end().to_string() == "DeadlineExceeded: late");
    CHECK(scene.server.resets == std::vector<std::uint32_t>{NGHTTP2_CANCEL});
    scene.answer({{"grpc-status", "0"}});  // comes too late
    CHECK(scene.ends.size() == 1);
    CHECK(scene.messages.empty());

    // Before its request has left.
    Scene early;
    early.session.end(*early.call, {Code::cancelled, "cancelled", Origin::us});
    early.server.talk(early.session);
    CHECK(early.end().code == Code::cancelled);
}

TEST_CASE("session: a message far larger than the windows comes through them") {
    Scene scene{64 * 1024};
    scene.server.talk(scene.session);
    const std::string large(900'000, 'y');
    scene.server.head(1, {{":status", "200"}, {"content-type", "application/grpc"}});
    scene.server.data(1, framed(large));
    scene.server.talk(scene.session);
    REQUIRE(scene.messages.size() == 1);
    CHECK(scene.messages[0] == large);

    // One that is larger than we take ends the call.
    scene.server.data(1, framed(std::string(2'000'000, 'y')));
    scene.server.talk(scene.session);
    CHECK(scene.end().code == Code::resource_exhausted);
}

TEST_CASE("session: bytes that are no HTTP/2 are an error, and so is their end") {
    Session session{64 * 1024};
    const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const std::vector<std::uint8_t> bytes{text.begin(), text.end()};
    const bool refused = !session.receive(bytes).has_value();
    while (true) {
        auto out = session.output();
        if (!out || out->empty()) break;
    }
    CHECK((refused || session.over()));
}

}
