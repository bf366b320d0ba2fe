// SPDX-License-Identifier: Apache-2.0
// A control plane that says anything: responses on streams that end and begin again. Whatever they are, each is
// answered by its nonce or ends the stream, the store holds what the conversation says it holds, and the workers get a
// mesh that hangs together.
#include <culvert/xds/conversation.hpp>
#include <culvert/xds/store.hpp>

#include "discovery.pb.h"
#include "input.hpp"
#include "require.hpp"

using namespace culvert;
using fuzz::require;
using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;

namespace {

Request parsed(const std::string& bytes) {
    Request request;
    require(request.ParseFromString(bytes), "what we say can be read");
    return request;
}

void check_held(const xds::Conversation& conversation, const xds::Store& store) {
    require(conversation.held(xds::Kind::address) == store.workloads() + store.services(),
            "every address is held once");
    require(conversation.held(xds::Kind::authorization) + conversation.stand_ins() == store.policies().size(),
            "every policy, or the denial in its place, is held once");
}

void check_mesh(const xds::Store& store) {
    auto mesh = store.mesh();
    for (const auto& service : mesh->services())
        for (const auto& [uid, endpoint] : service->endpoints) {
            auto workload = mesh->workload_by_uid(uid);
            require(workload && workload->services.contains(service->key()), "an endpoint is a workload that says so");
        }
    for (const auto& [key, endpoints] : store.aside()) {
        require(!endpoints.empty(), "nothing is kept aside for nobody");
        for (const auto& [uid, endpoint] : endpoints) require(!!mesh->workload_by_uid(uid), "nobody waits who is gone");
    }
    for (const auto& workload : mesh->workloads())
        for (const auto& [key, ports] : workload->services) {
            bool waits = store.aside().contains(key) && store.aside().at(key).contains(workload->uid);
            bool serves = false;
            for (const auto& service : mesh->services())
                serves = serves || (service->key() == key && service->endpoints.contains(workload->uid));
            require(waits != serves, "a workload stands behind each service that it names");
        }
}

void check_begin(xds::Conversation& conversation) {
    auto first = conversation.begin();
    require(first.size() >= 2, "a stream begins with both kinds");
    for (std::size_t i = 0; i < 2; ++i) {
        auto kind = i == 0 ? xds::Kind::address : xds::Kind::authorization;
        const auto named = conversation.held(kind) + (i == 0 ? 0 : conversation.stand_ins());
        require(parsed(first[i]).initial_resource_versions_size() == static_cast<int>(named),
                "a stream begins with what is held, or stood in for");
    }
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    xds::Limits limits;
    limits.resources = 20;
    limits.questions = 4;
    bool on_demand = input.number(1) % 2 == 1;
    xds::Conversation conversation{
        {"node", {}}, on_demand ? xds::Interest::on_demand : xds::Interest::everything, limits};
    xds::Store store;
    check_begin(conversation);
    while (!input.empty()) {
        // Of 65535 bytes at most: a question, or a response.
        auto length = input.number(2);
        if (length < 16) conversation.ask(input.text(length));
        std::string bytes = input.text(length);
        auto heard = conversation.hear(bytes);
        if (!heard) {
            check_begin(conversation);
            continue;
        }
        store.take(heard->kind, heard->changed, heard->removed);
        auto answer = parsed(heard->request);
        require(!answer.response_nonce().empty(), "an answer names what it answers");
        require(answer.has_error_detail() == !heard->refused.empty(), "what is refused is said to be");
        require(answer.error_detail().message().size() < 10000, "a reason is short");
        check_held(conversation, store);
        check_mesh(store);
    }
    return 0;
}
