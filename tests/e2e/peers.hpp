// SPDX-License-Identifier: Apache-2.0
// Peers of other makes in the place of another culvertd, with certificates of the lab's own CA: Envoy, Python's h2.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "process.hpp"
#include "world.hpp"

namespace culvert::test {

// A certificate, its key, and the root that it stands on, as files.
struct Papers {
    std::string chain;
    std::string key;
    std::string root;
};
Papers issue(const Lab& lab, const std::string& service_account);

// Envoy in a pod, with a file of tests/peers in which the words between @ are replaced.
class Envoy {
public:
    using Words = std::map<std::string, std::string>;

    Envoy(const Lab& lab, const Pod& pod, const std::string& config, Words words);
    // Waits until it serves; throws with its log when it does not.
    void start();
    void kill9();
    // A counter of its own, by name.
    double stat(const std::string& name) const;
    // Of its operator, to its admin door.
    void order(const std::string& path) const;
    std::string access_log() const;
    std::string log() const;

private:
    const Pod& pod_;
    std::string home_;
    std::string config_;
    Process process_;
};

// What the log says of a connection whose peer was killed: its kernel sends FIN, or RST where it had not read all.
bool is_a_killed_peer(const std::string& error);

// The default: an HBONE server in this pod. `options` are more members of http2_protocol_options.
Envoy envoy_server(const Lab& lab, const Pod& pod, const std::string& service_account, const std::string& options = "");

// A program of tests/peers in a pod.
class PythonPeer {
public:
    PythonPeer(const Lab& lab, const Pod& pod, std::vector<std::string> command);
    bool says(const std::string& words, Milliseconds limit = 10s) const;
    std::optional<int> wait(Milliseconds limit) { return process_.wait(limit); }
    // Ends it: all that it said.
    std::string finish();
    std::string log() const;

private:
    std::string path_;
    Process process_;
};

// Of a server's last words, a JSON object: the number behind this key, -1 where there is none.
double figure(const std::string& log, const std::string& key);
std::string slurp(const std::string& path);

}
