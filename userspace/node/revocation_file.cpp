// SPDX-License-Identifier: Apache-2.0
#include "revocation_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include <culvert/base/log.hpp>
#include <culvert/tls/revocations.hpp>

namespace culvert::node {

base::Result<> RevocationFile::read() {
    std::ifstream file{file_, std::ios::binary};
    if (!file) {
        auto why = base::errno_while("read " + file_);
        if (why.code.value() != ENOENT) return why;
        base::log::warn("node", "the revocation list {} is not there: nothing is revoked until it is", file_);
        return {};
    }
    std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    auto list = tls::Revocations::read(bytes);
    if (!list) return base::problem(file_ + ": " + list.error().to_string());
    size_ = (*list)->size();
    ++good_;
    tls::Revocations::publish(std::move(*list));
    base::log::info("node", "{} revokes {} certificates", file_, size_);
    return {};
}

// A file that goes keeps its last word.
void RevocationFile::read_again() {
    if (::access(file_.c_str(), F_OK) != 0) return;
    auto done = read();
    if (done) return;
    ++bad_;
    base::log::error("node", "{}. What was revoked before stays so", done.error().to_string());
}

base::Result<std::unique_ptr<RevocationFile>> RevocationFile::open(boost::asio::io_context& io, std::string file) {
    std::unique_ptr<RevocationFile> made{new RevocationFile{std::move(file)}};
    auto watch = control::FileWatch::start(io, made->file_, [self = made.get()] { self->read_again(); });
    if (!watch) return watch.error();
    made->watch_ = std::move(*watch);
    if (auto done = made->read(); !done) return done.error();
    return made;
}

void RevocationFile::expose(telemetry::Metrics& metrics) const {
    metrics.add(telemetry::families::revoked, [this] { return static_cast<double>(size_); });
    metrics.add(telemetry::families::revocation_reloads, [this] {
        return std::vector<telemetry::Sample>{{"good", static_cast<double>(good_)}, {"bad", static_cast<double>(bad_)}};
    });
}

}
