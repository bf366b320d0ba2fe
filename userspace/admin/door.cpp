// SPDX-License-Identifier: Apache-2.0
// The only file that sees Beast.
#include <fcntl.h>

#include <map>
#include <optional>
#include <set>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <fmt/format.h>

#include <culvert/admin/doors.hpp>
#include <culvert/base/log.hpp>

#include "listen.hpp"
#include "local_socket.hpp"

namespace culvert::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Protocol = asio::generic::stream_protocol;  // TCP and unix sockets alike
using ClientSocket = Protocol::socket;
using Stream = beast::basic_stream<Protocol>;
using namespace std::chrono_literals;
using Request = http::request_parser<http::string_body>;
using Response = http::response<http::string_body>;

constexpr auto with_ec = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t body_bytes = 8192;    // a GET has none; we read it to find the next request
constexpr auto last_bytes = 1s;             // for a client that we leave to take our answer and go
constexpr auto out_of_descriptors = 100ms;  // accepting again at once would spin

Answer text(unsigned status, std::string body) {
    return {status, "text/plain; charset=utf-8", std::move(body)};
}

Response response(Answer answer, bool keep_alive, std::string_view allowed) {
    Response made;
    made.version(11);
    made.result(answer.status);
    made.set(http::field::content_type, answer.content_type);
    if (answer.status == 405) made.set(http::field::allow, allowed);
    if (!answer.encoding.empty()) made.set(http::field::content_encoding, answer.encoding);
    made.body() = std::move(answer.body);
    made.keep_alive(keep_alive);
    made.prepare_payload();
    return made;
}

bool serves(Route::Methods methods, http::verb method) {
    switch (methods) {
        case Route::Methods::get: return method == http::verb::get;
        case Route::Methods::post: return method == http::verb::post;
        case Route::Methods::any: return true;
    }
    return false;
}

Asked asked_by(const Request::value_type& request) {
    std::string_view target{request.target().data(), request.target().size()};
    const auto query = target.find('?');
    auto header = [&request](http::field name) { return std::string{request[name]}; };
    return {.post = request.method() == http::verb::post,
            .query = Query{query == std::string_view::npos ? "" : target.substr(query + 1)},
            .accept = header(http::field::accept),
            .accept_encoding = header(http::field::accept_encoding)};
}

// What to say to a request that could not be read; status 0: nobody is there to be told, or too slow to deserve it.
Answer complaint(const boost::system::error_code& failed) {
    if (failed == http::error::header_limit) return text(431, "the request's headers are too large\n");
    if (failed == http::error::body_limit || failed == http::error::buffer_overflow)
        return text(413, "this door takes no body\n");
    if (failed == http::error::end_of_stream || failed == http::error::partial_message) return {0, "", ""};
    if (failed.category() == http::make_error_code(http::error::bad_method).category())
        return text(400, "not an HTTP request that we understand\n");
    return {0, "", ""};
}

}

class Door::Impl : public std::enable_shared_from_this<Door::Impl> {
public:
    // `path` empty: not a unix socket.
    Impl(asio::io_context& io, base::Fd listener, int family, std::string path, FullRoutes routes, DoorLimits limits)
        : acceptor_{io},
          routes_{std::move(routes)},
          limits_{limits},
          path_{std::move(path)},
          address_{base::local_address(listener.get())} {
        acceptor_.assign(Protocol{family, 0}, listener.release());
    }

    void start() { spawn(accept(shared_from_this())); }
    void close() {
        closed_ = true;
        if (!path_.empty()) leave_path(path_);
        boost::system::error_code ignored;
        acceptor_.close(ignored);
        for (auto* stream : streams_) stream->close();
    }
    base::SocketAddress address() const noexcept { return address_; }

private:
    using Self = std::shared_ptr<Impl>;
    // Counts a connection of this source among those that are served. Users of a unix socket are one and the same.
    struct Place {
        Place(Impl& d, const base::IpAddress& s) : door{d}, source{s} { ++door.served_[source]; }
        ~Place() {
            auto here = door.served_.find(source);
            if (--here->second == 0) door.served_.erase(here);
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        Impl& door;
        const base::IpAddress source;
    };
    // An open connection, known to the door while it lives.
    struct Connection {
        Connection(Impl& d, std::size_t& as, ClientSocket socket) : door{d}, counted_as{as}, stream{std::move(socket)} {
            door.streams_.insert(&stream);
            ++counted_as;
        }
        ~Connection() {
            --counted_as;
            door.streams_.erase(&stream);
        }
        Connection(const Connection&) = delete;
        Connection& operator=(const Connection&) = delete;
        Impl& door;
        std::size_t& counted_as;
        Stream stream;
    };

    void spawn(asio::awaitable<void> task);
    // Coroutines: they keep the door alive, and so take it by value.
    static asio::awaitable<void> accept(Self door);
    static asio::awaitable<void> serve(Self door, ClientSocket socket);
    static asio::awaitable<void> refuse(Self door, ClientSocket socket);
    static asio::awaitable<bool> answer(Self door, Connection& connection, Answer answer, bool keep_alive,
                                        std::string_view allowed = "GET");
    static asio::awaitable<void> pass_on(Self door, Connection& connection, Answer answer);
    static asio::awaitable<void> see_off(Connection& connection);
    static asio::awaitable<Answer> answer_to(Self door, const Request::value_type& request);
    FullRoutes::const_iterator route_of(const Request::value_type& request) const;
    std::string_view allowed(const Request::value_type& request) const;

    asio::basic_socket_acceptor<Protocol> acceptor_;
    const FullRoutes routes_;
    const DoorLimits limits_;
    const std::string path_;
    const base::SocketAddress address_;
    bool has_room_for(const base::IpAddress& source) const;

    std::set<Stream*> streams_;
    std::map<base::IpAddress, std::size_t> served_;
    std::size_t serving_ = 0;
    std::size_t refusing_ = 0;  // bounded as well; what comes beyond is closed without a word
    bool closed_ = false;
};

void Door::Impl::spawn(asio::awaitable<void> task) {
    // Only memory can run out in there; that connection ends and the door stays open.
    auto ended = [](std::exception_ptr failed) {
        if (failed) base::log::error("admin", "a connection to a door ended for want of memory");
    };
    asio::co_spawn(acceptor_.get_executor(), std::move(task), ended);
}

asio::awaitable<void> Door::Impl::accept(Self door) {
    asio::steady_timer pause{door->acceptor_.get_executor()};
    while (!door->closed_) {
        auto [failed, accepted] = co_await door->acceptor_.async_accept(with_ec);
        if (door->closed_) co_return;
        if (failed) {
            pause.expires_after(out_of_descriptors);
            co_await pause.async_wait(with_ec);
            continue;
        }
        ClientSocket socket{std::move(accepted)};
        ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // Asio does not ask for it
        if (door->has_room_for(base::peer_address(socket.native_handle()).ip))
            door->spawn(serve(door, std::move(socket)));
        else if (door->refusing_ < door->limits_.connections)
            door->spawn(refuse(door, std::move(socket)));
    }
}

bool Door::Impl::has_room_for(const base::IpAddress& source) const {
    if (serving_ >= limits_.connections) return false;
    auto here = served_.find(source);
    return !path_.empty() || here == served_.end() || here->second < limits_.connections_of_one;
}

asio::awaitable<void> Door::Impl::serve(Self door, ClientSocket socket) {
    Place place{*door, base::peer_address(socket.native_handle()).ip};
    Connection connection{*door, door->serving_, std::move(socket)};
    auto& stream = connection.stream;
    beast::flat_buffer buffer{door->limits_.header_bytes + body_bytes};
    auto first_byte = door->limits_.request;
    for (bool keep_alive = true; keep_alive;) {
        if (buffer.size() == 0) {  // else it has sent the next request already
            stream.expires_after(first_byte);
            auto [failed, bytes] = co_await stream.async_read_some(buffer.prepare(1024), with_ec);
            if (failed) co_return;
            buffer.commit(bytes);
            first_byte = door->limits_.idle;
        }
        Request request;
        request.header_limit(static_cast<std::uint32_t>(door->limits_.header_bytes));
        request.body_limit(body_bytes);
        stream.expires_after(door->limits_.request);
        auto [failed, bytes] = co_await http::async_read(stream, buffer, request, with_ec);
        if (door->closed_) co_return;
        keep_alive = !failed && request.keep_alive();
        Answer reply;
        if (failed)
            reply = complaint(failed);
        else
            reply = co_await answer_to(door, request.get());
        if (reply.status == 0) co_return;
        if (request.get().method() == http::verb::head) reply.body.clear();
        if (reply.feed) {
            co_await pass_on(door, connection, std::move(reply));
            break;
        }
        bool sent = co_await answer(door, connection, std::move(reply), keep_alive, door->allowed(request.get()));
        if (!sent) co_return;
    }
    co_await see_off(connection);
}

asio::awaitable<void> Door::Impl::refuse(Self door, ClientSocket socket) {
    Connection connection{*door, door->refusing_, std::move(socket)};
    bool sent = co_await answer(door, connection, text(503, "too many connections to this door, try again\n"), false);
    if (!sent) co_return;
    co_await see_off(connection);
}

asio::awaitable<bool> Door::Impl::answer(Self door, Connection& connection, Answer answer, bool keep_alive,
                                         std::string_view allowed) {
    auto made = response(std::move(answer), keep_alive, allowed);
    connection.stream.expires_after(door->limits_.answer);
    auto [failed, bytes] = co_await http::async_write(connection.stream, made, with_ec);
    co_return !failed;
}

// Chunk by chunk, each what has come together since the last one. A reader that says or ends something has had enough.
asio::awaitable<void> Door::Impl::pass_on(Self door, Connection& connection, Answer answer) {
    auto& stream = connection.stream;
    const auto feed = answer.feed;
    stream.socket().async_wait(ClientSocket::wait_read, [feed](boost::system::error_code) { feed->close(); });
    asio::steady_timer woken{door->acceptor_.get_executor()};
    feed->on_wake([&woken] { woken.cancel(); });
    struct Listening {
        Feed& feed;
        ~Listening() {
            feed.on_wake([] {});
            feed.close();
        }
    } listening{*feed};
    std::string out = fmt::format(
        "HTTP/1.1 {} OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n",
        answer.status, answer.content_type);
    for (bool more = true; more && !feed->closed();) {
        const std::string text = feed->take();
        if (!text.empty()) out += fmt::format("{:x}\r\n{}\r\n", text.size(), text);
        more = !feed->ended();
        if (!more) out += "0\r\n\r\n";
        if (out.empty()) {
            woken.expires_at(asio::steady_timer::time_point::max());
            co_await woken.async_wait(with_ec);
            continue;
        }
        stream.expires_after(door->limits_.stalled);
        auto [failed, bytes] = co_await asio::async_write(stream, asio::buffer(out), with_ec);
        if (failed) break;
        out.clear();
    }
}

// Closing on unread bytes would send a reset, and a client that is still writing might never see our answer.
asio::awaitable<void> Door::Impl::see_off(Connection& connection) {
    boost::system::error_code ignored;
    connection.stream.socket().shutdown(ClientSocket::shutdown_send, ignored);
    connection.stream.expires_after(last_bytes);
    char unread[4096];
    for (int reads = 0; reads < 64; ++reads) {
        auto [failed, bytes] = co_await connection.stream.async_read_some(asio::buffer(unread), with_ec);
        if (failed) co_return;
    }
}

FullRoutes::const_iterator Door::Impl::route_of(const Request::value_type& request) const {
    std::string_view target{request.target().data(), request.target().size()};
    return routes_.find(std::string{target.substr(0, target.find('?'))});
}

std::string_view Door::Impl::allowed(const Request::value_type& request) const {
    const auto route = route_of(request);
    return route != routes_.end() && route->second.methods == Route::Methods::post ? "POST" : "GET";
}

asio::awaitable<Answer> Door::Impl::answer_to(Self door, const Request::value_type& request) {
    const auto route = door->route_of(request);
    if (route == door->routes_.end()) {
        std::string body = "not found; this door has:";
        for (const auto& [known, ignored] : door->routes_) body += " " + known;
        co_return text(404, body + "\n");
    }
    if (!serves(route->second.methods, request.method())) co_return text(405, route->second.refusal);
    // The reply may come when nobody waits for it any more.
    struct Pending {
        asio::steady_timer until;
        std::optional<Answer> answer;
    };
    auto pending = std::make_shared<Pending>(Pending{asio::steady_timer{door->acceptor_.get_executor()}, {}});
    pending->until.expires_after(door->limits_.answer);
    try {
        route->second.answer(asked_by(request), [pending](Answer answer) {
            pending->answer = std::move(answer);
            pending->until.cancel();
        });
    } catch (const std::exception& failed) {
        base::log::error("admin", "{}: {}", route->first, failed.what());
        pending->answer = text(500, "internal error; the log says more\n");
    }
    if (!pending->answer) co_await pending->until.async_wait(with_ec);
    if (!pending->answer) co_return text(503, "no answer in time; the daemon is very busy, or paused\n");
    co_return std::move(*pending->answer);
}

base::Result<std::unique_ptr<Door>> Door::open(asio::io_context& io, const base::SocketAddress& address, Routes routes,
                                               DoorLimits limits) {
    FullRoutes full;
    for (auto& [path, answer] : routes)
        full[path].answer = [answer = std::move(answer)](const Asked&, const Reply& reply) { reply(answer()); };
    return open(io, address, std::move(full), limits);
}

base::Result<std::unique_ptr<Door>> Door::open(asio::io_context& io, const base::SocketAddress& address,
                                               FullRoutes routes, DoorLimits limits) {
    auto listener = listen_on(address);
    if (!listener) return listener.error();
    int family = base::local_address(listener->get()).ip.family();
    auto impl = std::make_shared<Impl>(io, std::move(*listener), family, "", std::move(routes), limits);
    impl->start();
    return std::unique_ptr<Door>{new Door{std::move(impl)}};
}

base::Result<std::unique_ptr<Door>> Door::open_local(asio::io_context& io, const std::string& path, AskedRoutes routes,
                                                     DoorLimits limits) {
    auto listener = listen_at(path);
    if (!listener) return listener.error();
    FullRoutes full;
    for (auto& [name, answer] : routes)
        full[name].answer = [answer = std::move(answer)](const Asked& asked, const Reply& reply) {
            answer(asked.query, reply);
        };
    auto impl = std::make_shared<Impl>(io, std::move(*listener), AF_UNIX, path, std::move(full), limits);
    impl->start();
    return std::unique_ptr<Door>{new Door{std::move(impl)}};
}

Door::Door(std::shared_ptr<Impl> impl) : impl_{std::move(impl)} {}
Door::~Door() {
    impl_->close();
}
base::SocketAddress Door::address() const noexcept {
    return impl_->address();
}

}
