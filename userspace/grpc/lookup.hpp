// SPDX-License-Identifier: Apache-2.0
// The addresses of a name, from getaddrinfo, which blocks: on a thread that lives as long as the question.
//
// Not Asio's resolver: its thread stays for ever, and its end waits for getaddrinfo, half a minute where no name server
// answers; a daemon that is to go must not.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/base/result.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::grpc {

class Lookup {
public:
    using Done = std::function<void(base::Result<std::vector<base::IpAddress>>)>;

    // `done` is called by the io_context, unless the Lookup has gone before.
    Lookup(boost::asio::io_context& io, std::string name, Done done);
    ~Lookup();
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

private:
    struct Shared;
    std::shared_ptr<Shared> shared_;  // with the thread
};

}
