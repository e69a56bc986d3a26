//! What is said to the system below the standard library: limits and memory of the process, and on Linux datagrams by the batch. Nearly all
//! unsafe code of the crate is here.
#![allow(unsafe_code)]

use std::io;

#[cfg(target_os = "linux")]
pub use datagrams::{BATCH, Batch};

/// Gives memory that was freed back to the system, after a load has used and freed much of it: the allocator of glibc keeps up to 32 MiB of it
/// otherwise. Takes milliseconds; never on a thread that answers queries.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and locks the allocator's own arenas as it goes.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Raises the number of descriptors that the process may have as far as the system lets it, and says what it is then.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer leads to a structure that outlives the call, which only writes to it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        ..limit
    };
    // SAFETY: the pointer leads to a structure that outlives the call, which only reads it.
    let is_raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0;
    let limit = if is_raised { raised.rlim_cur } else { limit.rlim_cur };
    #[allow(clippy::unnecessary_cast, reason = "some systems count in signed numbers")]
    Ok(limit as u64)
}

/// Batches of datagrams: recvmmsg, sendmmsg and the address that was asked, as Linux has them.
///
/// A [`Batch`] owns its buffers and the kernel's tables of them. The tables hold pointers into the buffers, so none of them moves or grows
/// after it is made.
#[cfg(target_os = "linux")]
mod datagrams {
    use std::io;
    use std::mem::{size_of, zeroed};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::os::fd::AsRawFd;

    use crate::wire::query::UDP_QUERY_MAX;

    /// Datagrams received or sent by one system call.
    pub const BATCH: usize = 32;

    /// Room for a query, with one octet more than is read so that a longer one shows, and no multiple of 4,096: else the same part of
    /// every buffer would fall into the same few cache sets.
    const STRIDE: usize = UDP_QUERY_MAX + 112;

    /// Room for the control message that carries the address asked (in6_pktinfo is the larger, 20 octets).
    const CONTROL: usize = 64;

    /// Buffers for a batch of datagrams.
    pub struct Batch {
        queries: Box<[[u8; STRIDE]; BATCH]>,
        sources: Box<[libc::sockaddr_storage; BATCH]>,
        controls: Box<[Control; BATCH]>,
        /// Pointed to by the tables of headers, and never read here.
        #[allow(dead_code)]
        vectors: Box<[libc::iovec; BATCH]>,
        received: Box<[libc::mmsghdr; BATCH]>,
        out_vectors: Box<[libc::iovec; BATCH]>,
        out: Box<[libc::mmsghdr; BATCH]>,
        address_asked: bool,
        /// How many of the headers the last receive changed.
        used: usize,
    }

    /// A control message's buffer, aligned as the kernel wants it.
    #[derive(Clone, Copy)]
    #[repr(C, align(8))]
    struct Control([u8; CONTROL]);

    // SAFETY: the pointers in the tables lead to buffers that the batch owns and moves with (boxed, never replaced).
    unsafe impl Send for Batch {}

    /// A datagram that was received.
    #[derive(Debug, Clone, Copy)]
    pub struct Datagram<'a> {
        /// Its octets; one that was longer than a query may be is cut to one octet more than that.
        pub bytes: &'a [u8],
        /// Who sent it.
        pub source: IpAddr,
        /// From which port.
        pub port: u16,
    }

    impl Batch {
        /// For a socket; if it is bound to the wildcard address, answers leave from the address that was asked.
        pub fn new(socket: &UdpSocket) -> io::Result<Self> {
            let local = socket.local_addr()?;
            let address_asked = local.ip().is_unspecified();
            set_options(socket, local.ip(), address_asked)?;
            let mut queries = Box::new([[0; STRIDE]; BATCH]);
            // SAFETY: all of these are plain C structures for which zero is a value.
            let mut sources = Box::new(unsafe { zeroed::<[libc::sockaddr_storage; BATCH]>() });
            // SAFETY: as above.
            let mut vectors = Box::new(unsafe { zeroed::<[libc::iovec; BATCH]>() });
            // SAFETY: as above.
            let mut received = Box::new(unsafe { zeroed::<[libc::mmsghdr; BATCH]>() });
            // SAFETY: as above.
            let mut out_vectors = Box::new(unsafe { zeroed::<[libc::iovec; BATCH]>() });
            // SAFETY: as above.
            let mut out = Box::new(unsafe { zeroed::<[libc::mmsghdr; BATCH]>() });
            let mut controls = Box::new([Control([0; CONTROL]); BATCH]);
            for index in 0..BATCH {
                vectors[index] = libc::iovec {
                    iov_base: queries[index].as_mut_ptr().cast(),
                    iov_len: UDP_QUERY_MAX + 1,
                };
                let header = &mut received[index].msg_hdr;
                header.msg_name = (&raw mut sources[index]).cast();
                header.msg_iov = &raw mut vectors[index];
                header.msg_iovlen = 1;
                if address_asked {
                    header.msg_control = controls[index].0.as_mut_ptr().cast();
                }
                out[index].msg_hdr.msg_iov = &raw mut out_vectors[index];
                out[index].msg_hdr.msg_iovlen = 1;
            }
            Ok(Self {
                queries,
                sources,
                controls,
                vectors,
                received,
                out_vectors,
                out,
                address_asked,
                used: BATCH,
            })
        }

        /// Waits for a datagram and takes all that have arrived, up to [`BATCH`]. Ends with an error when the socket's read timeout
        /// passes first.
        pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            for message in &mut self.received[..self.used] {
                let header = &mut message.msg_hdr;
                header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                header.msg_controllen = if self.address_asked { CONTROL as _ } else { 0 };
                header.msg_flags = 0;
            }
            // SAFETY: every header points to a name, a vector and a control buffer that live as long as `self`, with their lengths.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.received.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    libc::MSG_WAITFORONE,
                    std::ptr::null_mut(),
                )
            };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error());
            self.used = *count.as_ref().unwrap_or(&0);
            count
        }

        /// A datagram of the last batch, below the number received.
        #[inline]
        pub fn datagram(&self, index: usize) -> Datagram<'_> {
            let length = (self.received[index].msg_len as usize).min(STRIDE);
            let (source, port) = self.source(index);
            Datagram {
                bytes: &self.queries[index][..length],
                source,
                port,
            }
        }

        #[inline]
        fn source(&self, index: usize) -> (IpAddr, u16) {
            let storage = &raw const self.sources[index];
            match libc::c_int::from(self.sources[index].ss_family) {
                libc::AF_INET => {
                    // SAFETY: the kernel wrote a sockaddr_in, for which a sockaddr_storage has room and alignment.
                    let address = unsafe { &*storage.cast::<libc::sockaddr_in>() };
                    (
                        Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into(),
                        u16::from_be(address.sin_port),
                    )
                }
                _ => {
                    // SAFETY: as above, of a sockaddr_in6: the socket is of one of the two families.
                    let address = unsafe { &*storage.cast::<libc::sockaddr_in6>() };
                    (
                        Ipv6Addr::from(address.sin6_addr.s6_addr).into(),
                        u16::from_be(address.sin6_port),
                    )
                }
            }
        }

        /// Sends responses, each to whoever sent the datagram of that index, from the address that was asked. One that cannot be sent
        /// is passed over. Returns how many there were, and how many of them were sent. At most [`BATCH`] of them count.
        pub fn send<'a>(
            &mut self,
            socket: &UdpSocket,
            responses: impl Iterator<Item = (usize, &'a [u8])>,
        ) -> (usize, usize) {
            let mut count = 0;
            for (index, octets) in responses.take(BATCH) {
                self.out_vectors[count] = libc::iovec {
                    iov_base: octets.as_ptr().cast_mut().cast(),
                    iov_len: octets.len(),
                };
                let received = &self.received[index].msg_hdr;
                let (control, control_length) = match self.address_asked {
                    true => (received.msg_control, received.msg_controllen),
                    false => (std::ptr::null_mut(), 0),
                };
                if self.address_asked {
                    self.controls[index].any_interface(control_length);
                }
                let header = &mut self.out[count].msg_hdr;
                header.msg_name = received.msg_name;
                header.msg_namelen = received.msg_namelen;
                header.msg_control = if control_length == 0 {
                    std::ptr::null_mut()
                } else {
                    control
                };
                header.msg_controllen = control_length;
                count += 1;
            }
            (count, self.send_prepared(socket, count))
        }

        fn send_prepared(&mut self, socket: &UdpSocket, count: usize) -> usize {
            let (mut next, mut sent) = (0, 0);
            while next < count {
                // SAFETY: the headers up to `count` point to names and control buffers of `self` and to responses that outlive this
                // call; the kernel only reads them.
                let done = unsafe {
                    libc::sendmmsg(
                        socket.as_raw_fd(),
                        self.out.as_mut_ptr().add(next),
                        (count - next) as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                };
                match usize::try_from(done) {
                    Ok(done) if done > 0 => {
                        next += done;
                        sent += done;
                    }
                    _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                    _ => next += 1, // Unreachable, forbidden, no room: the client asks again.
                }
            }
            sent
        }
    }

    impl Control {
        /// The address stays, the interface is for routing to find: it need not be the one that the query came by. (Link-local
        /// addresses mean nothing without theirs.)
        fn any_interface(&mut self, length: usize) {
            let header = size_of::<libc::cmsghdr>();
            if length < header {
                return;
            }
            // SAFETY: the buffer is aligned for a cmsghdr and longer than one; the kernel filled it.
            let level = unsafe { (*self.0.as_ptr().cast::<libc::cmsghdr>()).cmsg_level };
            if level == libc::IPPROTO_IP {
                self.0[header..header + 4].fill(0); // in_pktinfo starts with the interface
            } else if self.0[header..header + 2] != [0xfe, 0x80] {
                self.0[header + 16..header + 20].fill(0); // in6_pktinfo ends with it
            }
        }
    }

    /// Datagrams leave unfragmented by us and deaf to forged path MTUs (IP_PMTUDISC_OMIT); the address asked is told where it is needed.
    fn set_options(socket: &UdpSocket, local: IpAddr, address_asked: bool) -> io::Result<()> {
        let (level, mtu, omit, info) = match local {
            IpAddr::V4(_) => (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_OMIT,
                libc::IP_PKTINFO,
            ),
            IpAddr::V6(_) => (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_OMIT,
                libc::IPV6_RECVPKTINFO,
            ),
        };
        // An old kernel may lack OMIT; its default will do.
        let _ = set_option(socket, level, mtu, omit);
        if address_asked {
            set_option(socket, level, info, 1)
        } else {
            Ok(())
        }
    }

    fn set_option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the value is read for the length given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
