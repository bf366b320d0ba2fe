// SPDX-License-Identifier: Apache-2.0
// Asks a daemon. A connection for each question: the daemon may be another one by the next.
#pragma once
#include <boost/json/value.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <culvert/base/result.hpp>

namespace culvert::ctl {

class Client {
public:
    explicit Client(std::string socket) : socket_{std::move(socket)} {}
    // Fails in words for people, who may have forgotten to start a daemon.
    base::Result<boost::json::value> get(const std::string& target) const;
    // An answer that goes on: each line as it comes, until there are no more, or the daemon has gone, or nobody wants
    // it.
    base::Result<> follow(const std::string& target, std::function<bool(std::string_view)> each) const;
    const std::string& socket() const noexcept { return socket_; }

private:
    std::string socket_;
};

// The one daemon that answers here, when nobody says which.
base::Result<std::string> find_socket();

}
