// SPDX-License-Identifier: Apache-2.0
// An istiod, and what a client of it on this thread needs. Its folder goes with the test.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <culvert/grpc/target.hpp>

#include "istiod.hpp"

namespace culvert::test {

struct Folder {
    std::filesystem::path path = std::filesystem::temp_directory_path() /
                                 ("culvert-istiod-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    static inline int count = 0;
};

struct BesideIstiod {
    // More arguments of istiod.py.
    explicit BesideIstiod(std::vector<std::string> arguments)
        : istiod{folder.path / "istiod", {.arguments = std::move(arguments)}} {
        token("good");
        target.address = istiod.address();
        target.roots = grpc::RootsFile{istiod.root()};
        target.alternative_hostname = "istiod.istio-system.svc";
        target.token = grpc::TokenFile{folder.path / "token"};
        target.cluster_id = "Kubernetes";
    }

    // The one that is sent with the next call.
    void token(const std::string& text) { std::ofstream{folder.path / "token"} << text; }

    template <class Done>
    bool soon(Done done, Milliseconds limit = 10s) {
        return eventually(limit, [&] {
            io.restart();
            io.poll();
            return static_cast<bool>(done());
        });
    }

    Folder folder;
    Istiod istiod;
    grpc::Target target;
    boost::asio::io_context io{1};
};

}
