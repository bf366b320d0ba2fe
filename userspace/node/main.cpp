// SPDX-License-Identifier: Apache-2.0
// culvertd: the command line. Everything else is Node's.
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include <culvert/admin/control_socket.hpp>
#include <culvert/admin/doors.hpp>
#include <culvert/base/log.hpp>
#include <culvert/capture/capture.hpp>
#include <culvert/control/config.hpp>
#include <culvert/control/environment.hpp>

#include "node.hpp"
#include "signals.hpp"
#include "stand_by.hpp"
#include "versions.hpp"

namespace {

using namespace culvert;

enum Exit { ok = 0, cannot_run = 1, bad_usage = 2, bad_config = 3 };

constexpr char help[] = R"(culvertd: an ambient mesh dataplane for one Linux node

  culvertd --config FILE [OPTION]      run; FILE is watched and applied live
  culvertd [OPTION]                    run as the node proxy of a cluster, where INPOD_UDS or XDS_ADDRESS is set: under
                                       istiod and istio-cni, with ztunnel's environment variables
  culvertd check FILE                  say whether FILE is good, and stop
  culvertd cleanup NODE                remove every trace of the node's capture: programs, pins, rules, routes
  culvertd cleanup --config FILE       the same, for the node named in FILE
  culvertd --version                   version and commit, compiler, libraries
  culvertd --help                      this

  --cleanup     remove the capture when the daemon ends. Without it captured pods stay closed (their new connections
                are refused) until the next start, which takes them over.
  --take-over   start although a daemon of this node runs, take its pods without refusing a connection, and let it
                end when the connections that it has are finished. The two may be of different versions.
                Only with capture: ebpf.

signals   TERM, INT: finish connections until shutdown.deadline, then end; a second one ends now.
          HUP: reopen the access log, read FILE again.
exit      0 ended as asked   1 cannot run (the message says why)   2 wrong usage   3 FILE or a variable is bad
doors     15020 /metrics   15021 /healthz/ready   15000 for istioctl, in a cluster   (doors: in FILE)
          culvertctl shows what the node does
)";

int usage_error(const std::string& what) {
    std::fprintf(stderr, "culvertd: %s. See culvertd --help\n", what.c_str());
    return bad_usage;
}

int say(Exit code, const base::Error& error) {
    std::fprintf(stderr, "culvertd: %s\n", error.to_string().c_str());
    return code;
}

bool is_option(const std::string& argument) {
    return argument.starts_with("-");
}

bool asks_for_help(const std::string& argument) {
    return argument == "--help" || argument == "-h";
}

int check(const std::string& file) {
    node::let_signals_in();
    auto config = control::load_config(file);
    if (!config) return say(bad_config, config.error());
    std::printf("%s is good: node %s, %zu pods, %zu workloads, %zu services, %zu policies\n", file.c_str(),
                config->node.name.c_str(), config->pods.size(), config->workloads.size(), config->services.size(),
                config->policies.size());
    return ok;
}

int cleanup(const std::vector<std::string>& arguments) {
    node::let_signals_in();
    std::string instance;
    std::string socket;
    if (arguments.size() == 1 && !is_option(arguments[0])) {
        instance = arguments[0];
    } else if (arguments.size() == 2 && arguments[0] == "--config") {
        auto config = control::load_config(arguments[1]);
        if (!config) return say(bad_config, config.error());
        instance = config->node.name;
        socket = config->doors.control.value_or("");
    } else {
        return usage_error("cleanup wants a node's name, or --config FILE");
    }
    // A misspelt name would look like a success.
    if (!capture::Capture::has_traces(instance)) std::printf("there is no capture of %s here\n", instance.c_str());
    if (auto done = capture::Capture::cleanup(instance); !done) return say(cannot_run, done.error());
    admin::remove_dead_socket(socket.empty() ? admin::control_socket(instance) : socket);
    return ok;
}

// Started with one of them closed, its number would go to a socket of ours, and lines of the log into that.
void have_standard_descriptors() {
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) std::abort();
}

// A proxy spends two descriptors a connection: take what the hard limit gives.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

struct Options {
    std::string file;
    bool cleanup_at_end = false;
    bool take_over = false;
};

// A file's node, or one of a cluster.
base::Result<node::Setup> setup_of(const Options& options) {
    if (!options.file.empty()) {
        auto config = control::load_config(options.file);
        if (!config) return config.error();
        return node::Setup{std::move(*config), options.file, {}, options.take_over};
    }
    auto found = control::read_environment(control::environment());
    if (!found) return found.error();
    base::log::configure(found->config.log.level, found->config.log.format);
    for (const auto& note : found->notes) base::log::warn("node", "{}", note);
    // A DaemonSet that is rolled has two of us on a node for a while; where there is none, this changes nothing.
    return node::Setup{std::move(found->config), {}, std::move(found->cluster), true};
}

int run(const Options& options) {
    auto setup = setup_of(options);
    if (!setup) return say(bad_config, setup.error());
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    base::log::configure(setup->config.log.level, setup->config.log.format);
    std::string instance = setup->config.node.name;
    const bool in_cluster = setup->cluster.has_value();
    bool replaced = false;
    bool settled = false;
    bool told_to_end = false;
    {
        auto node = node::Node::start(std::move(*setup));
        if (!node) return say(cannot_run, node.error());
        if (auto ran = (*node)->run(); !ran) return say(cannot_run, ran.error());
        replaced = (*node)->replaced();
        settled = (*node)->settled();
        told_to_end = (*node)->told_to_end();
    }
    const bool goes_on = replaced && in_cluster && !told_to_end;  // as far as the kubelet knows
    if (goes_on && !settled)
        return say(cannot_run, base::problem("who had the pods of " + instance +
                                             " has taken them back, for they were not named here; start it again"));
    if (goes_on) (void)node::stand_by(instance);  // either way it ends in order
    if (replaced) return ok;
    if (!options.cleanup_at_end) return ok;
    if (auto done = capture::Capture::cleanup(instance); !done) return say(cannot_run, done.error());
    return ok;
}

int main_with(const std::vector<std::string>& arguments) {
    Options options;
    const bool in_cluster = control::names_a_cluster(control::environment());
    if (arguments.empty() && !in_cluster) return usage_error("--config FILE is missing");
    const std::string first = arguments.empty() ? "" : arguments[0];
    const bool help_of_command =
        (first == "check" || first == "cleanup") && arguments.size() == 2 && asks_for_help(arguments[1]);
    if (asks_for_help(first) || first == "help" || help_of_command)
        return std::fputs(help, stdout) < 0 ? cannot_run : ok;
    if (first == "version" || first == "--version")
        return std::fputs(node::versions().c_str(), stdout) < 0 ? cannot_run : ok;
    if (first == "check")
        return arguments.size() == 2 && !is_option(arguments[1]) ? check(arguments[1])
                                                                 : usage_error("check wants one FILE");
    if (first == "cleanup") return cleanup({arguments.begin() + 1, arguments.end()});
    // What ztunnel's chart says to its container.
    const bool as_ztunnel = in_cluster && arguments.size() >= 2 && first == "proxy" && arguments[1] == "ztunnel";
    for (std::size_t i = as_ztunnel ? 2 : 0; i < arguments.size(); ++i) {
        if (arguments[i] == "--config" && i + 1 == arguments.size())
            return usage_error("--config wants a FILE");
        else if (arguments[i] == "--config")
            options.file = arguments[++i];
        else if (arguments[i] == "--cleanup")
            options.cleanup_at_end = true;
        else if (arguments[i] == "--take-over")
            options.take_over = true;
        else
            return usage_error("\"" + arguments[i] + "\" is not something that it understands");
    }
    if (options.file.empty() && !in_cluster) return usage_error("--config FILE is missing");
    return run(options);
}

}

// The first thread only waits. Others visit the namespaces of pods, but /proc/PID/ns/net is the first one's: whoever
// ends a pod by ending what is in its netns ("ip netns pids") must not find us there.
int main(int argc, char** argv) {
    have_standard_descriptors();
    node::hold_signals();
    int status = cannot_run;
    std::thread control{[&] {
        ::pthread_setname_np(::pthread_self(), "control");
        try {
            status = main_with({argv + 1, argv + argc});
        } catch (const std::exception& failure) {  // we cannot start, and nobody can help
            std::fprintf(stderr, "culvertd: %s\n", failure.what());
        }
    }};
    control.join();
    return status;
}
