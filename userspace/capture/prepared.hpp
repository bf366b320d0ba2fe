// SPDX-License-Identifier: Apache-2.0
// The programs that every pod has a copy of, made ready once.
//
// libbpf needs tens of milliseconds to open the object and to fit it to the running kernel, and one pod differs from
// the next by two maps. So libbpf does it once; a pod loads the finished instructions with its own maps in them.
// Copies carry no source lines: those are checked and kept per program, for dumps that look the same in every pod.
#pragma once
#include <bpf/libbpf.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

// What one pod's programs do not share with another's. Borrowed.
struct OwnMaps {
    int constants;
    int listeners;
};

class PreparedProgram {
public:
    // From one that libbpf has loaded with these maps. The other maps in it are shared, and must outlive the copies:
    // for those in `kept`, another descriptor that does.
    static base::Result<PreparedProgram> from(const bpf_program*, OwnMaps pattern, const std::map<int, int>& kept = {});

    // A failure has the verifier's last lines in the log.
    base::Result<base::Fd> load(OwnMaps) const;
    const std::string& name() const noexcept { return name_; }

private:
    struct Place {
        std::size_t instruction;
        int OwnMaps::*map;
    };

    std::string name_;
    bpf_prog_type type_{};
    bpf_attach_type expected_attach_type_{};
    std::vector<bpf_insn> instructions_;
    std::vector<Place> places_;
};

// New maps that look like the pattern to people, too: same name, same types.
base::Result<base::Fd> map_like(int pattern, int types, std::uint32_t entries);
// Frozen: the verifier takes the values for constants, and removes what they switch off.
base::Result<base::Fd> constants_like(int pattern, int types, const void* value);

}
