//! Entry point for the fuzz target.

use xdr::{Decode, Decoder, to_vec};

use crate::message::Header;
use crate::{WireError, admin, log, remote};

/// Reads `data` as several messages; what can be read must be writable and read back as the same.
pub fn fuzz_one(data: &[u8]) {
    fn round<T: Decode + xdr::Encode + PartialEq + std::fmt::Debug>(data: &[u8]) {
        if let Ok(value) = T::decode(&mut Decoder::new(data)) {
            let Ok(bytes) = to_vec(&value) else { return };
            // Compared as bytes: a NaN differs from itself.
            let again = T::decode(&mut Decoder::new(&bytes)).map(|v| to_vec(&v));
            assert_eq!(again, Ok(Ok(bytes)));
        }
        let _ = T::decode(&mut Decoder::lossy(data));
    }
    round::<Header>(data);
    round::<WireError>(data);
    round::<remote::ConnectOpenArgs>(data);
    round::<remote::ConnectGetAllDomainStatsRet>(data);
    round::<remote::DomainInterfaceAddressesRet>(data);
    round::<remote::DomainGetSecurityLabelListRet>(data);
    round::<remote::NodeGetInfoRet>(data);
    round::<remote::AuthListRet>(data);
    round::<remote::DomainMigratePerform3ParamsArgs>(data);
    round::<log::OpenLogFileArgs>(data);
    round::<log::ReadLogFileRet>(data);
    round::<log::AppendLogFileArgs>(data);
    round::<admin::ConnectListServersRet>(data);
    round::<admin::ServerSetThreadpoolParametersArgs>(data);
}
