// SPDX-License-Identifier: Apache-2.0
#include "advice.hpp"

#include <fmt/format.h>

namespace culvert::xds {

std::string advice(const grpc::Status& status, const grpc::Target& istiod) {
    using grpc::Code;
    const std::string said = status.to_string();
    if (status.origin == grpc::Origin::server) {
        switch (status.code) {
            case Code::unauthenticated:
                return fmt::format(
                    "{}: istiod refused our token ({}); it must be fresh and of the audience istio-ca, "
                    "and \"{}\" a cluster that istiod knows",
                    said, in_words(istiod.token), istiod.cluster_id);
            case Code::permission_denied:
                return fmt::format("{}: our token is of another namespace or service account than we say we are", said);
            case Code::invalid_argument: return fmt::format("{}: istiod cannot tell who we are", said);
            case Code::unimplemented: return fmt::format("{}: is this istiod, and its ambient mode on?", said);
            default: return said;
        }
    }
    if (status.origin != grpc::Origin::connecting || status.code != Code::unavailable) return said;
    if (said.find("look up the address") != said.npos)
        return said + ": is istiod installed, and its Service's name spelled so?";
    if (said.find("connect to") != said.npos) return said + ": is istiod running?";
    return said;
}

}
