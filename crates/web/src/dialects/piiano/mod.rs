use super::*;
pub const NAME: &str = "x";
pub fn open(_: &Engine, _: RealmId, _: &Environment) -> Result<Arc<dyn Dialect>, SettingError> {
    Err(SettingError::new("a", "b"))
}
