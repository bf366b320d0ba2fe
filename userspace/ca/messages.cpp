// SPDX-License-Identifier: Apache-2.0
#include "messages.hpp"

#include <fmt/format.h>

#include "certificates.pb.h"

namespace culvert::ca {
namespace {

bool says(const grpc::Status& status, std::string_view words) {
    return status.message.find(words) != std::string::npos;
}

std::string advice_on_refusal(const grpc::Status& status, const grpc::Target& ca, const state::Identity& identity) {
    switch (status.code) {
        case grpc::Code::unauthenticated:
            // istiod's one text for all that may be wrong here.
            if (says(status, "impersonation"))
                return fmt::format(
                    "may this node's service account ask for others (CA_TRUSTED_NODE_ACCOUNTS of istiod), "
                    "and does istiod know a pod of {}/{} on this node? It is a moment behind with new pods",
                    identity.namespace_, identity.service_account);
            return fmt::format(
                "it refused our token ({}): that must be fresh and of the audience istio-ca, and \"{}\" a "
                "cluster that istiod knows",
                in_words(ca.token), ca.cluster_id);
        case grpc::Code::invalid_argument: return "is SECRET_TTL longer than it gives certificates for?";
        case grpc::Code::unimplemented: return "is this istiod, and its CA on?";
        default: return {};
    }
}

std::string advice_on_silence(const grpc::Status& status) {
    if (status.origin == grpc::Origin::us && status.code == grpc::Code::deadline_exceeded)
        return "is istiod overloaded?";
    if (status.origin != grpc::Origin::connecting || status.code != grpc::Code::unavailable) return {};
    if (says(status, "look up the address")) return "is istiod installed, and its Service's name spelled so?";
    if (says(status, "connect to")) return "is istiod running?";
    return {};
}

}

std::string request_bytes(const std::string& csr, std::chrono::seconds lifetime, const state::Identity* impersonated) {
    wire::CertificateRequest request;
    request.set_csr(csr);
    request.set_validity_duration(lifetime.count());
    if (impersonated)
        (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(
            impersonated->to_string());
    return request.SerializeAsString();
}

base::Result<std::vector<std::string>> chain_of(const std::string& response) {
    wire::CertificateResponse message;
    if (!message.ParseFromString(response))
        return base::problem(fmt::format("the CA's answer of {} bytes cannot be read", response.size()));
    return std::vector<std::string>{message.cert_chain().begin(), message.cert_chain().end()};
}

base::Error failure(const grpc::Status& status, const grpc::Target& ca, const state::Identity& identity) {
    const std::string advice =
        status.origin == grpc::Origin::server ? advice_on_refusal(status, ca, identity) : advice_on_silence(status);
    return base::problem(
        fmt::format("the CA at {}: {}{}{}", ca.address, status.to_string(), advice.empty() ? "" : "; ", advice));
}

}
