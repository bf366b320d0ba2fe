// SPDX-License-Identifier: Apache-2.0
// The pages of libraries that only the start needed: libbpf's loader, OpenSSL's lists of everything it can do, YAML.
// They are the files' own, unchanged: whoever needs one again, to enrol a pod or to renew a certificate, finds it in
// the page cache, for a minor fault.
#pragma once

namespace culvert::node {

// Once, after the start. The program itself and the libraries that connections run through stay as they are.
void forget_start_pages() noexcept;

// Symbol tables and relocations of all of them and of the program, once whatever connections call is bound.
void forget_symbols() noexcept;

}
