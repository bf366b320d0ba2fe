// SPDX-License-Identifier: Apache-2.0
// istiod.py as a process of a test: its orders, and what it has heard.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "process.hpp"

namespace culvert::test {

class Istiod {
public:
    struct Options {
        int netns = -1;  // borrowed
        std::string listen = "127.0.0.1:0";
        std::vector<std::string> arguments;  // more of istiod.py's
    };

    // Waits until it listens; throws with its log when it does not. `folder` gets all its files.
    Istiod(const std::filesystem::path& folder, const Options& options);
    explicit Istiod(const std::filesystem::path& folder) : Istiod{folder, Options{}} {}

    std::uint16_t port() const noexcept { return port_; }
    std::uint16_t plaintext_port() const noexcept { return plaintext_port_; }  // where it was asked for: --plaintext
    std::string address() const { return "https://127.0.0.1:" + std::to_string(port_); }
    std::string root() const { return folder_ / "root-cert.pem"; }

    // A JSON object, as istiod.py explains; throws with its words when it cannot. Returns when it is done.
    void order(const std::string& json);

    // It stops where it stands, its connections open, and goes on.
    void pause();
    void resume();

    // How often a line of its log has all of these words in it.
    std::size_t said(const std::vector<std::string>& words) const;
    bool says(const std::vector<std::string>& words, Milliseconds limit = 5s) const;
    std::string log() const;

private:
    std::uint16_t number_behind(const std::string& key) const;

    std::filesystem::path folder_;
    std::string orders_;
    Process process_;
    std::uint16_t port_ = 0;
    std::uint16_t plaintext_port_ = 0;
    std::size_t given_ = 0;
};

}
