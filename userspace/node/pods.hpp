// SPDX-License-Identifier: Apache-2.0
// The pods of this node: each joins (certificate, listeners, capture, workers) and leaves (the same backwards).
//
// Lives on: the control thread. Borrows everything it introduces to each other.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <prometheus/histogram.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <culvert/capture/capture.hpp>
#include <culvert/control/config.hpp>
#include <culvert/dns/server.hpp>
#include <culvert/proxy/worker.hpp>
#include <culvert/tls/certificates.hpp>

namespace culvert::node {

using Workers = std::vector<std::unique_ptr<proxy::Worker>>;

// False also where there is none.
bool in_one_netns(const control::Pod& one, const control::Pod& other);

class Pods {
public:
    // What answers pods' questions to nameservers: without a server, they are no business of ours.
    struct Names {
        dns::Server* server = nullptr;
        std::vector<base::SocketAddress> redirected_to = dns::loopback();  // in pods whose rules send questions there
    };
    Pods(boost::asio::io_context& io, capture::Capture& capture, tls::CertificateManager& certificates,
         Workers& workers, Names names, std::string network, std::chrono::milliseconds drain_deadline);

    // A pod that cannot join (its netns is not there yet, say) is logged, left out, and tried again every other second.
    void join(const control::Pod& pod);
    // New connections pass the proxy by at once; those that live may finish until the deadline. Then rules, routes and
    // programs go.
    void leave(const control::Pod& pod) { leave(pod.uid); }
    // One that the file describes anew (identity, name, netns): its connections end now, and in the same netns nothing
    // is let past us in between.
    void replace(const control::Pod& pod, const control::Pod& successor);

    // One that somebody hands over with its netns: joins, or is replaced when it is here in another one, or is what it
    // was. Fails with what a pod waits for, which is tried again all the same.
    base::Result<> take(const control::Pod& pod);
    void leave(const std::string& uid);

    // Of a pod that is what it was, but for what it excludes: new connections go by it, open ones keep their way.
    void exclude(const control::Pod& pod);

    // What the kernel may refuse by itself, of all pods from now on.
    void publish(policy::SetPtr policies);

    // Opens listeners anew for a pod whose own have died, and gives them to the workers.
    void renew_listeners(const std::string& uid);
    // From now on the pods are somebody else's: nothing is joined, followed or released any more.
    void leave_to_successor();
    // The daemon drains: nothing is joined or followed any more, and who is leaving leaves.
    void stop();

    // A pod whose path leads to another netns (the pod was made anew) follows it; one whose path leads nowhere is let
    // go and tried again, as above.

    // A pod, and what it is doing.
    struct View {
        control::Pod pod;
        std::string state;  // "in the mesh", "waiting", "leaving"
        std::string why;    // of one that waits, or whose exclusions do
        bool closed;        // leaves to join again: until then it is refused, not let past us
        bool dns;           // its questions to nameservers are answered by us
    };
    std::vector<View> view() const;
    // In the mesh; and those that could not join yet.
    std::size_t size() const noexcept { return here_.size(); }
    std::size_t waiting() const noexcept { return waiting_.size(); }
    // How often that happened, and how often one was gone again.
    std::uint64_t started() const noexcept { return enrolments_; }
    std::uint64_t stopped() const noexcept { return enrolments_ - here_.size() - leaving_.size(); }
    // How long enrolling took, from the open netns to captured.
    const prometheus::Histogram& enrolment_seconds() const noexcept { return enrolment_seconds_; }
    // Called whenever one of the two has changed.
    void on_change(std::function<void()> callback) { changed_ = std::move(callback); }

private:
    struct Here {
        control::Pod pod;
        std::uint64_t netns_inode;
        bool path_lost = false;
        std::string not_excluding = {};  // why capture has not its last exclusions yet; tried again
    };

    base::Result<> try_to_join(const control::Pod& pod);
    void look_after();
    void follow_netns();
    void say_exclusions(Here& here);
    policy::Plaintext plaintext_of(const std::string& uid) const;
    void end_connections(const control::Pod& pod, std::uint64_t netns_inode, std::chrono::milliseconds deadline,
                         bool keep_closed);
    void gone(const control::Pod& pod);
    bool has_dns(const control::Pod& pod) const { return dns_ && pod.dns.value_or(true); }
    base::Result<std::vector<dns::Listener>> redirected_dns(const capture::PodSpec& spec,
                                                            const std::vector<capture::Listener>& of_capture) const;
    static void take_dns(std::vector<capture::Listener>& of_capture, std::vector<dns::Listener>& into);
    std::function<void(base::Fd)> serve_dns_of(const capture::PodSpec& spec) const;
    void hand_out(std::vector<capture::Listener> listeners,
                  const std::function<void(proxy::Worker&, std::vector<capture::Listener>)>& give);

    struct Waiting {
        control::Pod pod;
        std::string said;  // the last error, so that it is logged once and not at every try
    };

    boost::asio::io_context& io_;
    capture::Capture& capture_;
    tls::CertificateManager& certificates_;
    Workers& workers_;
    dns::Server* dns_;
    std::vector<base::SocketAddress> redirected_dns_to_;
    std::string network_;
    std::chrono::milliseconds drain_deadline_;
    policy::SetPtr policies_;
    std::map<std::string, Here> here_;
    struct Leaving {
        control::Pod pod;
        std::optional<control::Pod> next;  // who joins when it has left
        std::uint64_t netns_inode;
        bool closed;  // nothing is let past us until then
    };
    std::map<std::string, Leaving> leaving_;  // by uid
    std::map<std::string, Waiting> waiting_;
    boost::asio::steady_timer every_other_second_;
    std::function<void()> changed_ = [] {};
    std::uint64_t enrolments_ = 0;
    bool stopped_ = false;
    bool left_to_successor_ = false;
    prometheus::Histogram enrolment_seconds_;
};

}
