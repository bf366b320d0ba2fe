// SPDX-License-Identifier: Apache-2.0
// What the control socket tells of this node, as JSON: culvertctl makes tables of it.
//
//   GET /status        the daemon, its configuration, what it waits for
//   GET /pods          each pod, where it is, what it has; the daemon's own, while that is in the mesh
//   GET /connections   what lives, a page at a time: ?limit=N&pod=NAME&from=CURSOR, the next page's cursor is in "next"
//   GET /reasons       how often the kernel programs decided what
//   GET /explain       what would become of a connection: ?source=WHO&destination=WHOM&port=NUMBER
//   GET /trace         what is decided about one pod while it happens: ?pod=WHO; a line of JSON for each event, no end
//   GET /policies      who may talk to whom: each policy, whom it is about, how often it decided
#pragma once
#include <boost/asio/io_context.hpp>

#include <culvert/admin/doors.hpp>
#include <culvert/telemetry/access_log.hpp>

#include "mesh.hpp"
#include "metrics.hpp"
#include "own_pod.hpp"
#include "pods.hpp"
#include "source.hpp"
#include "tracing.hpp"

namespace culvert::node {

// The parts of a node; all are there, and stay, when the control socket's first request comes. The admin door is open
// before the mesh is known: capture, certificates and pods are null then, and there are no workers.
struct Inspected {
    boost::asio::io_context& io;
    const Source& source;
    const control::Config& config;
    const admin::Readiness& readiness;
    const Reloads& reloads;
    const std::unique_ptr<telemetry::AccessLog>& access_log;
    const std::unique_ptr<capture::Capture>& capture;
    const std::unique_ptr<tls::CertificateManager>& certificates;
    const Workers& workers;
    const std::unique_ptr<Pods>& pods;
    const std::unique_ptr<OwnPod>& own_pod;  // null where nobody said who we are
    const Mesh& mesh;
    Tracing& tracing;
};

admin::AskedRoutes control_routes(const Inspected& inspected);

}
