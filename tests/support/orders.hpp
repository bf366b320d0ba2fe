// SPDX-License-Identifier: Apache-2.0
// What a test tells a library that it has preloaded into a daemon, through memory that both have mapped.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>

#include <culvert/base/fd.hpp>

namespace culvert::test {

template <class Content>
class Orders {
public:
    // The library finds the file by this variable.
    Orders(std::string library, std::string variable) : library_{std::move(library)}, variable_{std::move(variable)} {
        path_ = "/dev/shm/culvert-orders-XXXXXX";
        const base::Fd file{::mkostemp(path_.data(), O_CLOEXEC)};
        if (!file || ::ftruncate(file.get(), sizeof(Content)) != 0) throw std::runtime_error("no file for orders");
        void* at = ::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
        if (at == MAP_FAILED) throw std::runtime_error("orders cannot be mapped");
        content_ = new (at) Content;
    }
    ~Orders() {
        ::munmap(content_, sizeof(Content));
        std::filesystem::remove(path_);
    }
    Orders(const Orders&) = delete;

    // Daemons that are started have the library, as long as the object lives.
    struct Preloaded {
        explicit Preloaded(const Orders& orders) : variable_{orders.variable_} {
            ::setenv(variable_.c_str(), orders.path_.c_str(), 1);
            ::setenv("LD_PRELOAD", orders.library_.c_str(), 1);
        }
        ~Preloaded() {
            ::unsetenv("LD_PRELOAD");
            ::unsetenv(variable_.c_str());
        }
        Preloaded(const Preloaded&) = delete;

    private:
        std::string variable_;
    };

    Content* operator->() noexcept { return content_; }
    const Content* operator->() const noexcept { return content_; }

private:
    std::string library_, variable_, path_;
    Content* content_ = nullptr;
};

}
