// SPDX-License-Identifier: Apache-2.0
// A node whose pods and mesh stand in one YAML file, which is followed while it changes.
#pragma once
#include <memory>

#include <culvert/control/config.hpp>
#include <culvert/control/watch.hpp>
#include <culvert/tls/authority.hpp>

#include "source.hpp"

namespace culvert::node {

class FileSource final : public Source {
public:
    // `config` is the file's content as main read it; its pods, mesh and log level follow the file.
    FileSource(std::string file, control::Config& config) : file_{std::move(file)}, config_{config} {}

    base::Result<> open(boost::asio::io_context& io, admin::Readiness& readiness) override;
    tls::Issuer& issuer() override { return *authority_; }
    void when_known(std::function<void()> go) override { go(); }
    void begin(const Site& site) override;
    void look_again() override;
    void stop() override { stopped_ = true; }
    std::string name() const override { return file_; }

private:
    void publish();
    void apply(control::Config fresh);
    void say_ready();

    const std::string file_;
    control::Config& config_;
    std::unique_ptr<tls::Authority> authority_;
    std::unique_ptr<control::FileWatch> watch_;
    const Site* site_ = nullptr;
    bool ready_said_ = false;
    bool stopped_ = false;
};

}
