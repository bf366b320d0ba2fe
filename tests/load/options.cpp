// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <optional>

#include <fmt/format.h>

namespace culvert::load {

const char* const usage =
    R"(culvert_load: small requests, new connections, streams and held connections, and what they cost

  culvert_load serve --echo PORT[xN] [--sink PORT[xN]] [--address A] [--until-eof] [--corrupt]
  culvert_load rr HOST PORT[xN] [--connections C] [--bytes B] [--seconds S]     requests on connections that stay
  culvert_load rate HOST PORT[xN] --rate R [--connections C] [--bytes B]        the same, R a second, each on its time
  culvert_load crr HOST PORT[xN] [--connections C] [--bytes B] [--seconds S]    a connection for each request
  culvert_load crr --each FILE PORT [--bytes B]                                 one to each address of a file
  culvert_load stream HOST PORT[xN] [--write W] [--connections C] [--seconds S] W bytes a write, into a sink;
      --nodelay sets TCP_NODELAY, which all other modes do; without it the kernel may join small writes (Nagle)
  culvert_load hold HOST PORT[xN] --connections C [--bytes B]                   until stdin or SIGTERM says enough

  --warm SECONDS (0.2)      before the time that counts
  --account PID[,PID...]    processes whose CPU is summed up with ours
HOST is an address. The last line of stdout is one JSON object; exit 1 and a line on stderr when anything went wrong.
)";

namespace {

template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool read(std::string_view text, std::size_t& out) {
    const auto value = number<std::size_t>(text);
    if (!value || *value == 0) return false;
    out = *value;
    return true;
}

bool read(std::string_view text, double& out) {
    const auto value = number<double>(text);
    if (!value || !(*value >= 0 && *value <= 1e9)) return false;  // nanoseconds of it fit into 64 bits
    out = *value;
    return true;
}

bool read(std::string_view text, base::IpAddress& out) {
    const auto value = base::IpAddress::parse(text);
    if (value) out = *value;
    return value.has_value();
}

bool read(std::string_view text, Ports& out) {
    const std::size_t x = text.find('x');
    const auto first = number<std::uint16_t>(text.substr(0, x));
    const auto count = x == text.npos ? 1 : number<std::uint16_t>(text.substr(x + 1));
    if (!first || !count || *first == 0 || *count == 0 || *first + *count > 65536) return false;
    out = {*first, *count};
    return true;
}

bool read(std::string_view text, std::vector<pid_t>& out) {
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        const auto pid = number<pid_t>(text.substr(0, comma));
        if (!pid || *pid <= 0) return false;
        out.push_back(*pid);
        text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
    }
    return true;
}

bool read(std::string_view file, std::vector<base::IpAddress>& out) {
    std::ifstream lines{std::string{file}};
    for (std::string line; std::getline(lines, line);) {
        if (line.empty()) continue;
        base::IpAddress address;
        if (!read(line, address)) return false;
        out.push_back(address);
    }
    return !out.empty();
}

base::Error wrong(std::string_view what, std::string_view text) {
    return base::problem(fmt::format("{}: '{}' is not understood (culvert_load --help)", what, text));
}

base::Result<> check(const Options& options) {
    if (options.mode == "serve") {
        if (options.echo.count + options.sink.count == 0) return base::problem("serve: --echo or --sink is missing");
        return {};
    }
    if (options.ports.count == 0) return base::problem(fmt::format("{}: HOST and PORT are missing", options.mode));
    if ((options.mode == "rate") != (options.rate > 0))
        return base::problem("--rate belongs to rate, and rate needs it");
    if (!(options.seconds > 0)) return base::problem("--seconds must be more than 0");
    return {};
}

}

base::Result<Options> parse_options(const std::vector<std::string>& arguments) {
    Options options;
    if (arguments.empty()) return base::problem("what to do is missing (culvert_load --help)");
    if (arguments[0] == "--help" || arguments[0] == "-h") return options;
    options.mode = arguments[0];
    bool known = false;
    for (const char* mode : {"serve", "rr", "rate", "crr", "stream", "hold"}) known = known || options.mode == mode;
    if (!known) return wrong("what to do", options.mode);

    const auto into = [](auto& field) { return [&field](std::string_view text) { return read(text, field); }; };
    const std::map<std::string, std::function<bool(std::string_view)>, std::less<>> values{
        {"--connections", into(options.connections)},
        {"--bytes", into(options.bytes)},
        {"--write", into(options.write)},
        {"--seconds", into(options.seconds)},
        {"--warm", into(options.warm)},
        {"--rate", into(options.rate)},
        {"--account", into(options.account)},
        {"--each", into(options.each)},
        {"--echo", into(options.echo)},
        {"--sink", into(options.sink)},
        {"--address", into(options.address)}};
    const std::map<std::string, bool*, std::less<>> switches{
        {"--until-eof", &options.until_eof}, {"--nodelay", &options.nodelay}, {"--corrupt", &options.corrupt}};
    std::vector<std::string> places;
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        if (const auto flag = switches.find(word); flag != switches.end()) {
            *flag->second = true;
        } else if (const auto value = values.find(word); value != values.end()) {
            if (++i == arguments.size()) return base::problem(fmt::format("{}: its value is missing", word));
            if (!value->second(arguments[i])) return wrong(word, arguments[i]);
        } else if (word.starts_with("-")) {
            return wrong("option", word);
        } else {
            places.push_back(word);
        }
    }
    const std::size_t wanted = options.mode == "serve" ? 0 : options.each.empty() ? 2 : 1;
    if (places.size() > wanted) return wrong("argument", places[wanted]);
    if (places.size() == 2 && !read(places[0], options.host)) return wrong("HOST", places[0]);
    if (places.size() == wanted && wanted > 0 && !read(places.back(), options.ports))
        return wrong("PORT", places.back());
    if (const auto checked = check(options); !checked) return checked.error();
    return options;
}

}
