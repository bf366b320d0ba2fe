// SPDX-License-Identifier: Apache-2.0
#include "texts.hpp"

#include <fmt/format.h>

namespace culvert::hbone {
namespace {

const char* phrase(int status) {
    switch (status) {
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 421: return "Misdirected Request";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        default: return nullptr;
    }
}

constexpr std::uint16_t tunnel_port = 15008;

}

base::Error status_error(int status) {
    const char* words = phrase(status);
    return base::problem(words ? fmt::format("http status: {} {}", status, words)
                               : fmt::format("http status: {}", status));
}

base::Error h2_error(const std::string& what) {
    return base::problem("h2 failed: " + what);
}

base::Error dial_error(const base::Error& why) {
    return why.code ? base::Error{why.code, "io error"} : why;
}

base::Error dial_timeout(const base::SocketAddress& peer) {
    if (peer.port != tunnel_port) return base::problem("io error: deadline has elapsed");
    return base::problem(fmt::format(
        "connection timed out, maybe a NetworkPolicy is blocking HBONE port {}: deadline has elapsed", tunnel_port));
}

base::Error drain_error() {
    return base::problem("connection closed due to connection drain");
}

base::Error address_lost() {
    return h2_error("the pod no longer has the address that the tunnel came from");
}

base::Error broken_pipe() {
    return base::problem("io error: broken pipe");
}

const base::Error& tunnel_ended() {
    static const base::Error text = h2_error("the tunnel has ended");
    return text;
}

const base::Error& closed_by_peer() {
    static const base::Error text = h2_error("the peer closed the tunnel");
    return text;
}

const base::Error& peer_revoked() {
    static const base::Error text = base::problem("connection closed: peer certificate revoked by CRL");
    return text;
}

}
