// SPDX-License-Identifier: Apache-2.0
// culvertctl connections
#include <fmt/format.h>

#include <culvert/admin/query.hpp>

#include "commands.hpp"
#include "figures.hpp"
#include "table.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

// A misspelt name would look like a pod without connections; one that leaves may have some still.
base::Result<> check_name(const Client& client, const std::string& pod) {
    auto answer = client.get("/pods");
    if (!answer) return answer.error();
    for (const auto& one : list_at(*answer, "pods"))
        if (is_called(one, pod)) return {};
    return base::problem("no pod of this node is called " + pod);
}

// Page after page: the daemon answers no more than a page's worth at a time.
base::Result<json::value> ask(const Client& client, const Options& options) {
    json::array all;
    json::value open;
    bool more = false;
    for (std::string from = "0:0"; !from.empty();) {
        auto target = "/connections?from=" + admin::percent_encoded(from);
        if (!options.pod.empty()) target += "&pod=" + admin::percent_encoded(options.pod);
        auto page = client.get(target);
        if (!page) return page.error();
        for (const auto& connection : list_at(*page, "connections")) {
            more = options.limit > 0 && all.size() == options.limit;
            if (more) break;
            all.push_back(connection);
        }
        open = at(*page, "open");
        from = more ? "" : text_at(*page, "next");
    }
    if (all.empty() && !options.pod.empty())
        if (auto known = check_name(client, options.pod); !known) return known.error();
    return json::value{{"open", open}, {"more", more}, {"connections", std::move(all)}};
}

std::string name_of(const json::value& side) {
    auto pod = text_at(side, "pod");
    auto address = text_at(side, "address");
    return pod.empty() ? address : address + " " + pod;
}

std::string path_of(const json::value& connection) {
    auto path = text_at(connection, "path");
    auto peer = text_at(connection, "tunnel_peer");
    if (peer.empty()) return path;
    return path + (text_at(connection, "direction") == "outbound" ? " to " : " from ") + peer;
}

std::string show(const json::value& answer, const Options& options, const Screen& screen) {
    using enum Column::Align;
    Table table{{{"DIRECTION"},
                 {"SOURCE", left, 15},
                 {"SOURCE IDENTITY", left, 16},
                 {"DESTINATION", left, 15},
                 {"DESTINATION IDENTITY", left, 20},
                 {"PATH", left, 9},
                 {"AGE", right},
                 {"SENT", right},
                 {"RECEIVED", right}}};
    for (const auto& connection : list_at(answer, "connections")) {
        const auto& source = at(connection, "source");
        const auto& destination = at(connection, "destination");
        table.add({text_at(connection, "direction"), name_of(source), short_identity(text_at(source, "identity")),
                   name_of(destination), short_identity(text_at(destination, "identity")), path_of(connection),
                   time_span(number_at(connection, "age_seconds")), bytes(number_at(connection, "bytes_sent")),
                   bytes(number_at(connection, "bytes_received"))});
    }
    auto of = options.pod.empty() ? "" : " of " + options.pod;
    if (table.empty()) return "no connections" + of + "\n";
    const auto& more = at(answer, "more");
    auto rest = more.is_bool() && more.get_bool()
                    ? fmt::format("and more: {} are open on this node\n", count_at(answer, "open"))
                    : "";
    return table.text(screen) + rest;
}

}

const Command connections_command{.name = "connections",
                                  .summary = "what lives: who with whom, which way, how much",
                                  .options = {&option::pod, &option::limit, &option::watch, &option::interval},
                                  .ask = ask,
                                  .show = show};

}
