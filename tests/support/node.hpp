// SPDX-License-Identifier: Apache-2.0
// One node's culvertd: the real binary in the node's network namespace, with a configuration file of ours.
#pragma once
#include <signal.h>

#include <map>
#include <string>
#include <vector>

#include "access_log.hpp"
#include "metrics.hpp"
#include "mesh.hpp"
#include "process.hpp"

namespace culvert::test {

const std::string& culvertd();

class Node {
public:
    Node(const Lab& lab, int number);
    Node(const Node&) = delete;
    // Ends the daemon, and has `culvertd cleanup` remove what it left in the kernel.
    ~Node();

    // A node of a cluster: no file, these variables. Its access log is in its own log.
    void be_told_by(std::vector<std::string> environment);
    // One variable, from its next start on.
    void set_variable(const std::string& name, const std::string& value);
    // Replaces the file in one step, as editors and Kubernetes do.
    void configure(const std::string& yaml);
    // Starts it and waits until it says that it is ready; throws with its log when it does not.
    void start(const std::string& binary = culvertd());
    // Starts another that takes over from this one, and waits until it has. The old one is the caller's from then on.
    Process start_successor(const std::string& binary);
    // The halves of both: nothing is waited for, and what comes then.
    void launch(const std::string& binary = culvertd());
    void wait_until_ready();
    Process launch_successor(const std::string& binary = culvertd());
    void wait_until_taken_over();
    bool ready() const;
    std::string readiness() const;  // the page's text, and "nobody answers" when nobody does
    void signal(int number) { daemon_.signal(number); }
    void kill9();
    // Stops every thread of it, and waits until they have stopped; resume() lets them go on.
    void pause();
    void resume() { daemon_.signal(SIGCONT); }
    std::optional<int> wait_exit(Milliseconds limit) { return daemon_.wait(limit); }
    bool running() { return daemon_.running(); }
    Output cleanup() const;

    // A line of its own log that holds all the words, written after the last call that found one.
    bool says(const std::vector<std::string>& words, Milliseconds limit = 15s);
    AccessLog& access_log() noexcept { return access_log_; }
    const std::string& config_path() const noexcept { return config_; }
    const std::string& log_path() const noexcept { return log_; }
    int number() const noexcept { return number_; }
    int netns() const noexcept { return netns_; }
    pid_t pid() const noexcept { return daemon_.pid(); }

    Samples metrics() const;
    std::size_t resident_bytes() const;
    std::map<std::string, Milliseconds> thread_cpu() const;  // "name/tid": user and system time

    // What a person does first when a test has failed.
    std::string where_to_look() const;
    static std::vector<Node*> all();

private:
    void count_reasons() const;
    std::string cleanup_command() const;
    std::vector<std::string> command(const std::string& binary) const;

    std::string name_;
    int number_;
    int netns_;
    std::string config_;
    std::vector<std::string> environment_;
    std::string log_;
    std::size_t read_to_ = 0;
    Process daemon_;
    AccessLog access_log_;
};

}
