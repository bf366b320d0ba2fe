// SPDX-License-Identifier: Apache-2.0
// The doors of a daemon, asked over HTTP from inside its node.
#pragma once
#include <map>
#include <string>

#include "connection.hpp"

namespace culvert::test {

struct HttpAnswer {
    int status = 0;  // 0: nobody answered
    std::string body;
};

HttpAnswer http_get(int netns, const SocketAddress& to, const std::string& path, const std::string& headers = "");

// Samples of a Prometheus text page: "name{labels}" as it stands there, and the number.
using Samples = std::map<std::string, double>;
Samples parse_samples(const std::string& page);
// All samples of one metric added up, whatever their labels.
double total(const Samples& samples, const std::string& metric);

}
