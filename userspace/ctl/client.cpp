// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/parse.hpp>

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include <culvert/admin/control_socket.hpp>
#include <culvert/base/fd.hpp>

namespace culvert::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace fs = std::filesystem;
using asio::local::stream_protocol;
using base::problem;
using base::Result;

constexpr auto with_ec = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds patience{15};  // the daemon itself gives up after ten
constexpr std::size_t largest_answer = 64 << 20;

struct Exchange {
    boost::system::error_code failed;
    unsigned status = 0;
    std::string body;
};

using Stream = beast::basic_stream<stream_protocol>;

// True: it is connected and has been asked. Else `into` says why not.
asio::awaitable<bool> ask(Stream& stream, std::string socket, std::string target, Exchange& into) {
    stream.expires_after(patience);
    auto [unconnected] = co_await stream.async_connect(stream_protocol::endpoint{socket}, with_ec);
    into.failed = unconnected;
    if (unconnected) co_return false;
    http::request<http::empty_body> request{http::verb::get, target, 11};
    request.set(http::field::host, "culvertd");
    request.keep_alive(false);
    auto [unsent, sent] = co_await http::async_write(stream, request, with_ec);
    into.failed = unsent;
    co_return !unsent;
}

asio::awaitable<void> exchange(std::string socket, std::string target, Exchange& into) {
    auto executor = co_await asio::this_coro::executor;
    Stream stream{executor};
    bool asked = co_await ask(stream, socket, target, into);
    if (!asked) co_return;
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> answer;
    answer.body_limit(largest_answer);
    auto [unread, bytes] = co_await http::async_read(stream, buffer, answer, with_ec);
    into.failed = unread;
    if (unread) co_return;
    into.status = answer.get().result_int();
    into.body = std::move(answer.get().body());
}

struct Following {
    std::function<bool(std::string_view)> each;
    std::string pending;
    bool enough = false;

    void take(std::string_view text) {
        pending += text;
        std::size_t from = 0;
        for (std::size_t end; !enough && (end = pending.find('\n', from)) != std::string::npos; from = end + 1)
            enough = !each(std::string_view{pending}.substr(from, end - from));
        pending.erase(0, from);
    }
};

asio::awaitable<void> follow_to_the_end(std::string socket, std::string target, Following& lines, Exchange& into) {
    auto executor = co_await asio::this_coro::executor;
    Stream stream{executor};
    bool asked = co_await ask(stream, socket, target, into);
    if (!asked) co_return;
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> answer;
    answer.body_limit(boost::none);
    auto on_chunk = [&lines](std::uint64_t, beast::string_view text, boost::system::error_code&) {
        lines.take({text.data(), text.size()});
        return text.size();
    };
    answer.on_chunk_body(on_chunk);
    auto [unread, bytes] = co_await http::async_read_header(stream, buffer, answer, with_ec);
    into.failed = unread;
    if (unread) co_return;
    into.status = answer.get().result_int();
    stream.expires_never();
    while (!answer.is_done() && !lines.enough) {
        auto [ended, more] = co_await http::async_read_some(stream, buffer, answer, with_ec);
        if (ended) break;
    }
    into.body = std::move(answer.get().body());
}

std::string nobody_answers(const std::string& socket) {
    return "no culvertd answers on " + socket + ": is it running? culvertctl --socket PATH asks another one";
}

std::string no_permission(const std::string& socket) {
    return "no permission to open " + socket + ": it is for the user that culvertd runs as, root as a rule";
}

std::string what_failed(const std::string& socket, const boost::system::error_code& failed) {
    if (failed == boost::system::errc::permission_denied) return no_permission(socket);
    if (failed == beast::error::timeout)
        return "culvertd on " + socket + " does not answer; it is very busy, or paused";
    if (failed == boost::system::errc::no_such_file_or_directory || failed == boost::system::errc::connection_refused ||
        failed == boost::system::errc::not_a_directory)
        return nobody_answers(socket);
    return "culvertd on " + socket + ": " + failed.message();
}

bool somebody_listens(const std::string& path) {
    sockaddr_un raw{};
    raw.sun_family = AF_UNIX;
    if (path.size() >= sizeof raw.sun_path) return false;
    path.copy(raw.sun_path, path.size());
    base::Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&raw), sizeof raw) == 0 || errno == EAGAIN ||
           errno == EACCES;
}

Result<> check_length(const std::string& socket) {
    if (socket.size() >= sizeof(sockaddr_un::sun_path)) return problem(socket + " is too long for a unix socket");
    return {};
}

Result<> check_answer(const std::string& socket, Exchange& answer) {
    if (answer.failed) return problem(what_failed(socket, answer.failed));
    if (answer.status == 200) return {};
    while (answer.body.ends_with('\n')) answer.body.pop_back();
    if (answer.status == 400) return problem(answer.body);  // it is about our words
    if (answer.status == 404) answer.body = "this culvertd is of another version (" + answer.body + ")";
    return problem("culvertd on " + socket + ": " + answer.body);
}

}

Result<boost::json::value> Client::get(const std::string& target) const {
    if (auto fits = check_length(socket_); !fits) return fits.error();
    asio::io_context io{1};
    Exchange answer;
    asio::co_spawn(io, exchange(socket_, target, answer), asio::detached);
    io.run();
    if (auto good = check_answer(socket_, answer); !good) return good.error();
    boost::system::error_code failed;
    auto value = boost::json::parse(answer.body, failed);
    if (failed) return problem("what answers on " + socket_ + " is no culvertd: " + failed.message());
    return value;
}

Result<> Client::follow(const std::string& target, std::function<bool(std::string_view)> each) const {
    if (auto fits = check_length(socket_); !fits) return fits;
    asio::io_context io{1};
    Exchange answer;
    Following lines{std::move(each), {}, false};
    asio::co_spawn(io, follow_to_the_end(socket_, target, lines, answer), asio::detached);
    io.run();
    return check_answer(socket_, answer);
}

Result<std::string> find_socket() {
    std::vector<std::string> nodes;
    std::error_code failed;
    for (fs::directory_iterator at{admin::control_sockets, failed}, end; !failed && at != end; at.increment(failed)) {
        auto node = at->path().filename().string();
        if (somebody_listens(admin::control_socket(node))) nodes.push_back(node);
    }
    if (failed == std::errc::permission_denied) return problem(no_permission(admin::control_sockets));
    if (nodes.empty()) return problem(nobody_answers(admin::control_socket("*")));
    std::ranges::sort(nodes);
    if (nodes.size() > 1)
        return problem(fmt::format("several daemons run here; say which by --node: {}", fmt::join(nodes, ", ")));
    return admin::control_socket(nodes.front());
}

}
