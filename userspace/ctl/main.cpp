// SPDX-License-Identifier: Apache-2.0
// culvertctl: what the culvertd of this node is doing.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <csignal>
#include <cstdio>
#include <thread>
#include <utility>

#include <unistd.h>

#include <culvert/admin/control_socket.hpp>

#include "commands.hpp"
#include "screen.hpp"
#include "version.hpp"

namespace {

using namespace culvert;
using namespace culvert::ctl;
namespace json = boost::json;

int say(Exit status, const std::string& what) {
    std::fprintf(stderr, "culvertctl: %s\n", what.c_str());
    return status;
}

base::Result<std::string> socket_of(const Options& options) {
    if (options.command->asks_nobody) return std::string{};
    if (!options.socket.empty()) return options.socket;
    if (!options.node.empty()) return admin::control_socket(options.node);
    return find_socket();
}

// One look at the daemon, ready to be printed.
class Looks {
public:
    Looks(const Client& client, const Options& options) : client_{client}, options_{options} {}

    base::Result<std::string> next() {
        auto said = ask();
        if (!said) return said.error();
        auto screen = standard_output();
        std::string text =
            options_.json ? json::serialize(*said) + "\n" : options_.command->show(*said, options_, screen);
        if (options_.command->exit_status) exit_status_ = options_.command->exit_status(*said);
        // Over what was there before, without a flicker.
        bool redraw = options_.watch && screen.terminal && !options_.json;
        if (redraw) return "\033[H\033[2J" + text;
        bool apart = options_.watch && !options_.json && std::exchange(printed_, true);
        return apart ? "\n" + text : text;
    }
    int exit_status() const noexcept { return exit_status_; }

private:
    base::Result<json::value> ask() {
        const Command& command = *options_.command;
        auto now = command.ask(client_, options_);
        if (!now || !command.compare) return now;
        if (before_.is_null()) {
            before_ = std::move(*now);
            std::this_thread::sleep_for(options_.interval);
            now = command.ask(client_, options_);
            if (!now) return now;
        }
        auto compared = command.compare(before_, *now);
        before_ = std::move(*now);
        return compared;
    }

    const Client& client_;
    const Options& options_;
    json::value before_;
    int exit_status_ = fine;
    bool printed_ = false;
};

void end_well_on_signals() {
    for (int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { ::_exit(fine); });
}

int follow(const Client& client, const Options& options) {
    end_well_on_signals();
    bool printed = true;
    auto each = [&](std::string_view line) {
        boost::system::error_code unreadable;
        auto event = json::parse({line.data(), line.size()}, unreadable);
        printed = print(options.json || unreadable ? std::string{line} + "\n"
                                                   : options.command->show(event, options, standard_output()));
        return printed;
    };
    auto followed = client.follow(options.command->stream(options), each);
    if (!followed) return say(cannot_ask, followed.error().to_string());
    if (!printed) return cannot_ask;
    return say(fine, "culvertd on " + client.socket() + " has ended");
}

// Until SIGINT or SIGTERM, which end it well. A daemon that is started anew meanwhile is asked again.
int watch(Looks& looks, const Options& options) {
    end_well_on_signals();
    std::string complaint;
    for (bool first = true;; first = false) {
        auto text = looks.next();
        if (!text && first) return say(cannot_ask, text.error().to_string());
        if (!text && complaint != text.error().to_string()) {
            complaint = text.error().to_string();
            say(cannot_ask, complaint + ". Trying again");
        }
        if (text) complaint.clear();
        if (text && !print(*text)) return cannot_ask;
        std::this_thread::sleep_for(options.interval);
    }
}

int run(const std::vector<std::string>& arguments) {
    auto options = parse(arguments);
    if (!options) return say(wrong_usage, options.error().to_string() + ". See culvertctl --help");
    if (options->version)
        return print(std::string{"culvertctl "} + node::version + " (" + node::commit + ")\n") ? fine : cannot_ask;
    if (options->help) return print(help_text(options->command)) ? fine : cannot_ask;
    auto socket = socket_of(*options);
    if (!socket) return say(cannot_ask, socket.error().to_string());
    Client client{*socket};
    if (options->command->stream) return follow(client, *options);
    Looks looks{client, *options};
    if (options->watch) return watch(looks, *options);
    auto text = looks.next();
    if (!text) return say(cannot_ask, text.error().to_string());
    return print(*text) ? looks.exit_status() : cannot_ask;
}

}

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception& failed) {
        return say(cannot_ask, failed.what());
    }
}
