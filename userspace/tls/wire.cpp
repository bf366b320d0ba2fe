// SPDX-License-Identifier: Apache-2.0
#include "wire.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace culvert::tls {
namespace {

Wire& wire_of(BIO* bio) noexcept {
    return *static_cast<Wire*>(BIO_get_data(bio));
}

int read(BIO* bio, char* into, std::size_t size, std::size_t* taken) noexcept {
    Wire& wire = wire_of(bio);
    BIO_clear_retry_flags(bio);
    if (wire.input.empty()) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *taken = std::min(size, wire.input.size());
    std::memcpy(into, wire.input.data(), *taken);
    wire.input = wire.input.subspan(*taken);
    return 1;
}

int write(BIO* bio, const char* data, std::size_t size, std::size_t* written) noexcept {
    Wire& wire = wire_of(bio);
    CV_CHECK(wire.output, "write_to() comes before the call that writes");
    BIO_clear_retry_flags(bio);
    auto* bytes = reinterpret_cast<const std::byte*>(data);
    try {
        wire.output->insert(wire.output->end(), bytes, bytes + size);
    } catch (const std::bad_alloc&) {
        return 0;  // must not travel through OpenSSL's frames
    }
    *written = size;
    return 1;
}

long control(BIO*, int command, long, void*) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int create(BIO* bio) noexcept {
    BIO_set_init(bio, 1);
    return 1;
}

using Method = base::Handle<BIO_METHOD, BIO_meth_free>;

Method make_method() {
    Method method{BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert wire")};
    if (!method) return method;
    BIO_meth_set_read_ex(method.get(), read);
    BIO_meth_set_write_ex(method.get(), write);
    BIO_meth_set_ctrl(method.get(), control);
    BIO_meth_set_create(method.get(), create);
    return method;
}

}

Bio open_wire(Wire& wire) {
    static const Method method = make_method();
    Bio bio{method ? BIO_new(method.get()) : nullptr};
    if (bio) BIO_set_data(bio.get(), &wire);
    return bio;
}

}
