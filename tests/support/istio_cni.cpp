// SPDX-License-Identifier: Apache-2.0
#include "istio_cni.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

namespace culvert::test {

namespace {

const std::string agent = CULVERT_SOURCE_DIR "/tests/support/istio_cni.py";

}

IstioCni::IstioCni(const Lab& lab, const std::string& name)
    : socket_{lab.folder() / (name + ".sock")},
      orders_{lab.folder() / (name + ".orders")},
      output_{lab.folder() / (name + ".said")} {
    // Open for both, so that neither end waits for the other.
    if (::mkfifo(orders_.c_str(), 0600) != 0) throw std::runtime_error("cannot make " + orders_);
    pen_ = base::Fd{::open(orders_.c_str(), O_RDWR | O_CLOEXEC)};
    process_ = Process({"/usr/bin/python3", "-B", agent, socket_, orders_, "--probe", "1"}, -1, output_);
    if (!pen_ || !says("listening")) throw std::runtime_error("istio_cni.py does not listen, see " + output_);
}

IstioCni::~IstioCni() {
    process_.signal(SIGKILL);
    process_.wait(5s);
}

void IstioCni::order(const std::string& line) {
    const std::string whole = line + "\n";
    if (::write(pen_.get(), whole.data(), whole.size()) != static_cast<ssize_t>(whole.size()))
        throw std::runtime_error("cannot order " + line);
}

void IstioCni::add(const Pod& pod, const std::string& service_account, const std::string& rules,
                   const std::string& namespace_) {
    order("add " + uid(pod) + " " + pod.name() + " " + namespace_ + " " + service_account + " " + pod.netns_path() +
          " " + rules);
}

bool IstioCni::says(const std::string& beginning, Milliseconds limit) {
    return eventually(limit, [&] {
        std::ifstream said{output_};
        said.seekg(static_cast<std::streamoff>(read_to_));
        std::size_t end = read_to_;
        for (std::string line; std::getline(said, line) && !said.eof();) {
            end += line.size() + 1;
            if (!line.starts_with(beginning)) continue;
            read_to_ = end;
            return true;
        }
        return false;
    });
}

std::string IstioCni::complaints() const {
    std::ifstream said{output_};
    std::string all;
    for (std::string line; std::getline(said, line);)
        if (line.find("WRONG") != std::string::npos) all += line + "\n";
    return all;
}

}
