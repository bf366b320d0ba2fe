// SPDX-License-Identifier: Apache-2.0
// Connections that we make ourselves, from inside a pod's netns, marked as ours so that no program captures them.
#pragma once
#include "context.hpp"

namespace culvert::proxy {

// Why a dial failed, in the words of the access log: "Connection refused (os error 111)", "deadline has elapsed".
std::string dial_failure(const base::Error& error);

// What a dialled socket does when it is closed without a word: cut for bytes of apps (end_in_order()), in order for a
// tunnel, whose bytes say themselves whether they are all.
enum class WhenClosed { cut, in_order };

// To the network, with the pod's own address. Within Limits::connect. Fails with the kernel's error, ETIMEDOUT when
// late.
base::Task<base::Result<std::unique_ptr<base::Socket>>> dial_out(Context& context, PodPtr pod, base::SocketAddress to,
                                                                 WhenClosed when_closed);

// Whether it has the address. True where that cannot be told.
bool still_has(const LocalPod& pod, const base::IpAddress& ip);

// To the pod's own app, with the client's address as source, so that the app sees who calls. The port is ours: from
// outside the ranges clients pick from, because a SYN that equals a live connection of that client never gets an
// answer.
base::Task<base::Result<std::unique_ptr<base::Socket>>> dial_app(Context& context, PodPtr pod, base::IpAddress client,
                                                                 base::SocketAddress app, capture::OwnSocket kind);

}
