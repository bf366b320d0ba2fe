// SPDX-License-Identifier: Apache-2.0
// What a node hears of its agent, written down in words; and what an agent may say.
#pragma once
#include <fcntl.h>

#include <map>
#include <string>
#include <vector>

#include <culvert/zds/client.hpp>

#include "zds.pb.h"

namespace culvert::zds {

struct Told : Handler {
    std::vector<std::string> words;
    std::map<std::string, std::string> refuses;  // by uid, with this text
    std::map<std::string, Netns> netns;
    std::string waits = "never told";

    base::Result<> added(const std::string& uid, const WorkloadInfo& info, Netns its) override {
        words.push_back("added " + uid + " " + info.namespace_ + "/" + info.name + " as " + info.service_account);
        netns[uid] = std::move(its);
        if (auto why = refuses.find(uid); why != refuses.end()) return base::problem(why->second);
        return {};
    }
    void removed(const std::string& uid) override {
        words.push_back("removed " + uid);
        netns.erase(uid);
    }
    void named_all(const std::set<std::string>& uids) override {
        std::string all = "all";
        for (const auto& uid : uids) all += " " + uid;
        words.push_back(all);
    }
    void waits_for(const std::string& what) override { waits = what; }

    std::vector<std::string> take() { return std::exchange(words, {}); }
};

namespace wire = istio::workload::zds;
using Words = std::vector<std::string>;

// Any descriptor with an inode of its own will do.
inline base::Fd a_netns(const char* path = "/proc/self/ns/net") {
    return base::Fd{::open(path, O_RDONLY | O_CLOEXEC)};
}

inline std::string add(const std::string& uid) {
    wire::WorkloadRequest request;
    request.mutable_add()->set_uid(uid);
    auto* info = request.mutable_add()->mutable_workload_info();
    info->set_name("web");
    info->set_namespace_("shop");
    info->set_service_account("seller");
    return request.SerializeAsString();
}
inline std::string del(const std::string& uid) {
    wire::WorkloadRequest request;
    request.mutable_del()->set_uid(uid);
    return request.SerializeAsString();
}
inline std::string keep(const std::string& uid) {
    wire::WorkloadRequest request;
    request.mutable_keep()->set_uid(uid);
    return request.SerializeAsString();
}
inline std::string snapshot_sent() {
    wire::WorkloadRequest request;
    request.mutable_snapshot_sent();
    return request.SerializeAsString();
}

inline const std::string good{"\x0a\x00", 2};  // an Ack in its response; of no bytes would be an end

// The text of a refusal; "" of an acknowledgement.
inline std::string error_in(const std::string& answer) {
    wire::WorkloadResponse response;
    if (!response.ParseFromString(answer) || !response.has_ack()) return "no answer";
    return response.ack().error();
}

}
