// SPDX-License-Identifier: Apache-2.0
#include "admin_door.hpp"

#include <boost/asio/post.hpp>

#include <utility>

#include <fmt/format.h>

#include <culvert/base/log.hpp>
#include <culvert/dump/mesh.hpp>

#include "version.hpp"

namespace culvert::node {
namespace {

using admin::Answer;
using admin::Asked;
using admin::Reply;
using admin::Route;

constexpr std::string_view logging_help = R"(
usage: POST /logging                   what the log level is
       POST /logging?level=LEVEL       debug, info, warn, error or off
       POST /logging?reset             what it was set to at the start; may be combined with a level
)";

Answer text(unsigned status, std::string body) {
    return {status, "text/plain; charset=utf-8", std::move(body)};
}

base::log::Level level_now() {
    using enum base::log::Level;
    for (auto level : {debug, info, warn, error})
        if (base::log::enabled(level)) return level;
    return off;
}

Answer page() {
    constexpr std::string_view rows[][2] = {
        {"config_dump",
         "what this node knows: workloads, services, policies, certificates, pods, connections, settings"},
        {"logging", "POST: the log level, and another one (?level=, ?reset)"},
        {"quitquitquit", "POST: finish connections until the deadline, then end"},
    };
    std::string body = fmt::format(
        "<!DOCTYPE html><html><head><title>culvertd</title></head><body><h1>culvertd {}</h1><table>\n", version);
    for (const auto& [path, what] : rows)
        body += fmt::format("<tr><td><a href=\"/{0}\">/{0}</a></td><td>{1}</td></tr>\n", path, what);
    body += "</table><p>Metrics and readiness have doors of their own. culvertctl shows more.</p></body></html>\n";
    return {200, "text/html; charset=utf-8", std::move(body)};
}

}

Answer logging(const admin::Query& query, base::log::Level start, base::log::Format format) {
    const auto wanted = query.value("level");
    const bool reset = query.value("reset").has_value();
    if (reset) base::log::configure(start, format);
    if (wanted && !(reset && wanted->empty())) {
        const auto level = base::log::parse_level(*wanted == "trace" ? "debug" : *wanted);
        if (!level) return text(400, fmt::format("Invalid level provided: {}\n{}", *wanted, logging_help));
        base::log::configure(*level, format);
    }
    if (reset || wanted)
        base::log::write(base::log::Level::warn, "admin",
                         fmt::format("the log level is {} from now on", to_string(level_now())));
    return text(200, fmt::format("current log level is {}\n", to_string(level_now())));
}

admin::FullRoutes admin_routes(const Dumped& dumped, std::function<void()> quit) {
    using enum Route::Methods;
    auto dump = [dumped](const Asked&, const Reply& reply) {
        dump_config(dumped, [reply](const boost::json::value& all) {
            reply({200, "application/json", dump::pretty(all) + "\n"});
        });
    };
    auto set_level = [dumped](const Asked& asked, const Reply& reply) {
        reply(logging(asked.query, dumped.node.config.log.level, dumped.node.config.log.format));
    };
    auto end = [&io = dumped.node.io, quit = std::make_shared<std::function<void()>>(std::move(quit))](
                   const Asked&, const Reply& reply) {
        reply(text(200, "shutdown now\n"));
        boost::asio::post(io, [quit] {
            if (auto once = std::exchange(*quit, nullptr)) once();
        });
    };
    return {{"/", {any, [](const Asked&, const Reply& reply) { reply(page()); }}},
            {"/config_dump", {any, dump}},
            {"/logging", {post, set_level, fmt::format("Invalid HTTP method\n{}", logging_help)}},
            {"/quitquitquit", {post, end, ""}}};
}

}
