// SPDX-License-Identifier: Apache-2.0
#include "metrics.hpp"

#include <cstdlib>
#include <sstream>
#include <system_error>

namespace culvert::test {

HttpAnswer http_get(int netns, const SocketAddress& to, const std::string& path, const std::string& headers) {
    try {
        Connection door = Connection::open(netns, {.to = to, .from = {}, .limit = 2s});
        door.send("GET " + path + " HTTP/1.1\r\nHost: door\r\nConnection: close\r\n" + headers + "\r\n");
        const std::string answer = door.receive_all();
        const auto body = answer.find("\r\n\r\n");
        if (!answer.starts_with("HTTP/1.") || body == std::string::npos) return {};
        return {std::atoi(answer.c_str() + 9), answer.substr(body + 4)};
    } catch (const std::system_error&) {
        return {};
    }
}

Samples parse_samples(const std::string& page) {
    Samples samples;
    std::istringstream lines{page};
    for (std::string line; std::getline(lines, line);) {
        const auto space = line.rfind(' ');
        if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
        samples[line.substr(0, space)] = std::strtod(line.c_str() + space + 1, nullptr);
    }
    return samples;
}

double total(const Samples& samples, const std::string& metric) {
    double sum = 0;
    for (const auto& [name, value] : samples)
        if (name == metric || name.starts_with(metric + "{")) sum += value;
    return sum;
}

}
