// SPDX-License-Identifier: Apache-2.0
#include "conversation.hpp"

#include <sys/stat.h>

#include <algorithm>

#include <culvert/base/log.hpp>

#include "zds.pb.h"

namespace culvert::zds {

namespace wire = istio::workload::zds;

namespace {

// As `kubectl logs | grep inpod` finds it in the logs of the proxy that we stand in for.
constexpr std::string_view state_scope = "inpod::statemanager";

// Leaves room for the message around it.
constexpr std::size_t longest_error = most_bytes - 24;

// The agent refuses a text that is not UTF-8, and reads no more than so much.
std::string readable(std::string text) {
    text.resize(std::min(text.size(), longest_error));
    std::ranges::replace_if(
        text, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

std::string ack(std::string error) {
    wire::WorkloadResponse response;
    response.mutable_ack()->set_error(readable(std::move(error)));
    return response.SerializeAsString();
}

bool same(int one, int other) {
    struct stat a {
    }, b{};
    return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}

std::string hello() {
    wire::ZdsHello hello;
    hello.set_version(wire::V1);
    return hello.SerializeAsString();
}

Answer unreadable(const std::string& why) {
    std::string text = "failure to read message : " + why;
    return {ack(text), text};
}

void Conversation::begin() {
    named_.clear();
    named_all_ = false;
}

std::size_t Conversation::pending() const noexcept {
    return static_cast<std::size_t>(
        std::ranges::count_if(pods_, [](const auto& one) { return !one.second.failure.empty(); }));
}

// What does not fit here is answered and ends the connection, no more. The proxy that we stand in for ends its process
// then, which helps nobody: every pod's connections would die of a fault that the agent may repeat to whoever comes
// next. A new connection begins with the whole truth again.
Answer Conversation::hear(std::string_view message, std::vector<base::Fd> descriptors) {
    wire::WorkloadRequest request;
    auto misplaced = [](const base::Error& what) {
        std::string text = "failure to process message : " + what.to_string();
        return Answer{ack(text), text};
    };
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size())))
        return unreadable("it is no WorkloadRequest");
    switch (request.payload_case()) {
        case wire::WorkloadRequest::kAdd:
            if (descriptors.size() != 1) return unreadable("Expected 1 FD, got " + std::to_string(descriptors.size()));
            if (!request.add().has_workload_info())
                return misplaced(base::problem("workload_info is required but not present"));
            return {ack(add(request.add(), std::move(descriptors.front()))), ""};
        case wire::WorkloadRequest::kKeep:
            if (auto kept = keep(request.keep().uid()); !kept) return misplaced(kept.error());
            break;
        case wire::WorkloadRequest::kDel: remove(request.del().uid()); break;
        case wire::WorkloadRequest::kSnapshotSent:
            if (auto done = reconcile(); !done) return misplaced(done.error());
            break;
        case wire::WorkloadRequest::PAYLOAD_NOT_SET: return unreadable("it says nothing known");
    }
    return {ack(""), ""};
}

std::string Conversation::add(const wire::AddWorkload& add, base::Fd netns) {
    if (!named_all_) named_.insert(add.uid());
    auto known = pods_.find(add.uid());
    if (known != pods_.end() && same(known->second.netns->get(), netns.get())) {
        if (known->second.failure.empty()) return {};
    } else {
        base::log::info(state_scope, "pod WorkloadUid(\"{}\") received netns, starting proxy", readable(add.uid()));
    }
    const auto& info = add.workload_info();
    Pod& pod = pods_[add.uid()];
    pod = {{info.name(), info.namespace_(), info.service_account()},
           std::make_shared<const base::Fd>(std::move(netns)),
           ""};
    return hand_over(add.uid(), pod);
}

std::string Conversation::hand_over(const std::string& uid, Pod& pod) {
    auto added = handler_.added(uid, pod.info, pod.netns);
    pod.failure = added ? "" : "failure to start proxy : " + added.error().to_string();
    return pod.failure;
}

void Conversation::retry() {
    for (auto& [uid, pod] : pods_)
        if (!pod.failure.empty()) hand_over(uid, pod);
}

Conversation::Result Conversation::keep(const std::string& uid) {
    if (named_all_) return base::problem("pod keep received after snapshot");
    named_.insert(uid);
    return {};
}

// Before the agent has named all, a pod that runs is left to that.
void Conversation::remove(const std::string& uid) {
    named_.erase(uid);
    auto pod = pods_.find(uid);
    if (pod == pods_.end()) return;  // the agent says it again until it has heard our answer
    if (!named_all_ && pod->second.failure.empty()) return;
    base::log::info(state_scope, "pod WorkloadUid(\"{}\") delete request, draining proxy", readable(uid));
    pods_.erase(pod);
    handler_.removed(uid);
}

Conversation::Result Conversation::reconcile() {
    if (named_all_) return base::problem("pod snapshot received already");
    std::vector<std::string> left;
    for (const auto& [uid, pod] : pods_)
        if (!named_.contains(uid)) left.push_back(uid);
    named_all_ = true;
    for (const std::string& uid : left) remove(uid);
    base::log::info(state_scope, "pod received snapshot sent: {} pods", named_.size());
    handler_.named_all(named_);
    named_.clear();
    return {};
}

}
